# SPDX-License-Identifier: Apache-2.0
"""Carry Ethernet frames between a VM and its port of the bridge, where no tap may be opened.

A program that runs inside the namespace, one for each VM. Towards QEMU it is the server of `-netdev stream`,
whose frames come with a length of 4 bytes in network order before each; towards the bridge it is a packet
socket on the free end of a veth. It ends when QEMU closes the connection.
"""

import os
import select
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

_ETH_P_ALL = 3
_LARGEST_FRAME = 1 << 16


def relay(vm: socket.socket, port: socket.socket) -> None:
    """Carry frames both ways until the VM's connection ends."""
    pending = b""
    while True:
        readable, _, _ = select.select([vm, port], [], [])
        if port in readable:
            frame, address = port.recvfrom(_LARGEST_FRAME)
            if address[2] != socket.PACKET_OUTGOING:
                vm.sendall(struct.pack("!I", len(frame)) + frame)
        if vm in readable:
            if not (chunk := vm.recv(_LARGEST_FRAME)):
                return
            frames, pending = split(pending + chunk)
            for frame in frames:
                _send(port, frame)


def split(stream: bytes) -> tuple[list[bytes], bytes]:
    """Split a byte stream into its whole frames and what is left of the last one."""
    frames = []
    while len(stream) >= 4 and len(stream) >= (size := 4 + struct.unpack_from("!I", stream)[0]):
        frames.append(stream[4:size])
        stream = stream[size:]
    return frames, stream


def _send(port: socket.socket, frame: bytes) -> None:
    # The link is down or the frame is too long: a network loses such frames.
    with suppress(OSError):
        port.send(frame)


def main(arguments: list[str]) -> None:
    """`SOCKET INTERFACE`; prints `ready` when QEMU may connect."""
    path, interface = Path(arguments[0]), arguments[1]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)) as port:
        port.bind((interface, _ETH_P_ALL))
        with socket.socket(socket.AF_UNIX) as server:
            path.unlink(missing_ok=True)
            server.bind(str(path))
            server.listen(1)
            print("ready", flush=True)
            os.close(1)
            vm, _ = server.accept()
        path.unlink(missing_ok=True)
        with vm:
            relay(vm, port)


if __name__ == "__main__":
    main(sys.argv[1:])
