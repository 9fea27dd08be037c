# SPDX-License-Identifier: Apache-2.0
"""The addresses of this machine on the underlay, and which of them to tell others. Pure.

Serf would take the first private IPv4 address that it finds when it starts, and does not start without one.
So we name the address: the one that was named before, as long as the machine still has it, because every
change restarts Serf, and the others do not believe that a name has moved while they hold it for alive or
failed: some 40 s (measured). Where `SerfRpc.leave` comes before the change, they believe it at once.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Interfaces that lead to no other machine of the underlay: ours, those of containers and of virtual machines.
NO_UNDERLAY = ("lo", "mesh", "cni", "flannel", "veth", "docker", "podman", "virbr", "dummy", "tun", "wg")


class UnderlayAddress(NamedTuple):
    interface: str
    number: int  # of the interface
    address: str  # without a scope


def is_underlay(interface: str) -> bool:
    """Whether an interface of this name may lead to other machines."""
    return not interface.startswith(NO_UNDERLAY)


def list_reachable(addresses: Iterable[UnderlayAddress]) -> tuple[str, ...]:
    """Return the addresses at which others can reach this machine, the likeliest first, without doubles.

    IPv6 addresses of the link are left out: Serf loses their scope, without which they lead nowhere.
    """
    found = {
        entry.address: rank
        for entry in addresses
        if is_underlay(entry.interface) and (rank := _rank(entry.address)) is not None
    }
    return tuple(sorted(found, key=lambda address: (found[address], ipaddress.ip_address(address).packed)))


def choose_advertised(reachable: Sequence[str], route_source: str | None, before: str | None) -> str | None:
    """Return the address to advertise: that of `before`, else that of the default route, else the likeliest.

    `reachable` is what `list_reachable` gave; None when the machine has no address yet.
    """
    for address in (before, route_source):
        if address in reachable:
            return address
    return reachable[0] if reachable else None


def _rank(text: str) -> int | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.is_loopback or address.is_multicast or address.is_unspecified:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return 2 if address.is_link_local else 0
    return None if address.is_link_local else 1
