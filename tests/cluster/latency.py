# SPDX-License-Identifier: Apache-2.0
"""Make the cable of one machine long: what it sends arrives later, as with netem, which not all kernels have.

A program that runs in the namespace of the switch, one for each machine. Towards the machine it is a packet
socket on the free end of its cable, towards the bridge a tap device. Frames keep the header of virtio
(linux/virtio_net.h), so that the kernel does on the way what the machine's device has left to do: checksums,
and cutting what is longer than a packet.
"""

import fcntl
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress

_ETH_P_ALL = 3
_LARGEST_FRAME = 1 << 17
_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 263, 15, 23  # linux/if_packet.h
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000  # linux/if_tun.h


def carry(machine: socket.socket, bridge: int, seconds: float) -> None:
    """Carry frames both ways for ever, those of the machine `seconds` after they came."""
    waiting: deque[tuple[float, bytes]] = deque()
    while True:
        wait = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([machine.fileno(), bridge], [], [], wait)
        # The link is down or the frame is too long: a network loses such frames.
        with suppress(OSError):
            if machine.fileno() in readable:
                waiting.append((time.monotonic() + seconds, machine.recv(_LARGEST_FRAME)))
        with suppress(OSError):
            if bridge in readable:
                machine.send(os.read(bridge, _LARGEST_FRAME))
        while waiting and waiting[0][0] <= time.monotonic():
            with suppress(OSError):
                os.write(bridge, waiting.popleft()[1])


def open_tap(name: str) -> int:
    """Make the tap device `name`; it is gone when this program is."""
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
    return tap


def main(arguments: list[str]) -> None:
    """`CABLE TAP SECONDS`; prints `ready` when the tap device is there."""
    cable, tap, seconds = arguments
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)) as machine:
        machine.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        machine.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        machine.bind((cable, _ETH_P_ALL))
        bridge = open_tap(tap)
        print("ready", flush=True)
        carry(machine, bridge, float(seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
