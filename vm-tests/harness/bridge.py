# SPDX-License-Identifier: Apache-2.0
"""Make the bridge and its ports; a program that `namespace` runs inside the namespace.

Owns: links `br0`, `NAME` (the tap or veth of a VM, a port of the bridge) and `NAME-vm` (the VM's end of a
veth).
"""

import fcntl
import os
import socket
import struct
import sys
from array import array
from pathlib import Path

from pyroute2 import IPRoute

from harness.model import SUBNET

BRIDGE = "br0"
_TUN = Path("/dev/net/tun")
_SIOCETHTOOL = 0x8946  # linux/sockios.h
_ETHTOOL_STXCSUM = 0x17  # linux/ethtool.h


def make() -> None:
    """Bring up the loopback device and the bridge, whose address is the VMs' default route."""
    with IPRoute() as route:
        route.link("set", index=route.link_lookup(ifname="lo")[0], state="up")
        # Ports forward at once, and multicast reaches all (nobody here asks queriers' questions).
        if not route.link_lookup(ifname=BRIDGE):
            route.link("add", ifname=BRIDGE, kind="bridge", br_forward_delay=0, br_mcast_snooping=0)
        index = route.link_lookup(ifname=BRIDGE)[0]
        route.addr("replace", index=index, address=f"{SUBNET}.1", prefixlen=24)
        route.link("set", index=index, state="up")
    _write_checksums(BRIDGE)


def add_port(name: str, *, tap: bool) -> None:
    """Add the port of VM `name`, once: a tap, or a veth for the relay."""
    with IPRoute() as route:
        if not route.link_lookup(ifname=name):
            if tap:
                route.link("add", ifname=name, kind="tuntap", mode="tap")
            else:
                route.link("add", ifname=name, kind="veth", peer=f"{name}-vm")
                route.link("set", index=route.link_lookup(ifname=f"{name}-vm")[0], state="up")
            bridge = route.link_lookup(ifname=BRIDGE)[0]
            route.link("set", index=route.link_lookup(ifname=name)[0], master=bridge, state="up")


def _write_checksums(name: str) -> None:
    """Let the kernel write whole checksums: the relay hands frames on as they are, unlike a tap."""
    value = array("I", [_ETHTOOL_STXCSUM, 0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sP16x", name.encode(), value.buffer_info()[0])
        fcntl.ioctl(control, _SIOCETHTOOL, request)


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError:
        return False
    return True


def main(arguments: list[str]) -> None:
    """`make`, or `port NAME`, which prints the tap device or an empty line."""
    if arguments[0] == "make":
        make()
    else:
        tap = _opens(_TUN)
        add_port(arguments[1], tap=tap)
        print(arguments[1] if tap else "")


if __name__ == "__main__":
    main(sys.argv[1:])
