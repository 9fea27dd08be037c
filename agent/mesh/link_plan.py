# SPDX-License-Identifier: Apache-2.0
"""How the mesh's link should be, and the steps that lead there from any state. Pure.

Addresses that are not ours are taken away, apart from those that the kernel itself gives to a link (fe80::).
Routes of others through the link stay: what rides on the mesh may need them.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from agent.errors import ClusterError


@dataclass(frozen=True)
class LinkSettings:
    """The link as it should be; ClusterError where an address or a range is none."""

    ipv4: str  # the node's own address
    ipv4_range: str  # CIDR
    ipv6: str
    ipv6_range: str
    mtu: int  # bytes
    roles: tuple[str, ...] = ()  # IPv6 addresses of the roles that this node holds, in ipv6_range

    def __post_init__(self) -> None:
        try:
            for address, network in self._pairs:
                if ipaddress.ip_address(address) not in ipaddress.ip_network(network):
                    raise ClusterError(f"mesh address {address} is not in the range {network}")
        except ValueError as error:
            raise ClusterError(f"mesh address: {error}") from None

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses with the length of their range, and the range of each."""
        return {f"{address}/{network.partition('/')[2]}": network for address, network in self._pairs}

    @property
    def _pairs(self) -> tuple[tuple[str, str], ...]:
        moving = ((address, self.ipv6_range) for address in self.roles)
        return ((self.ipv4, self.ipv4_range), (self.ipv6, self.ipv6_range), *moving)


@dataclass(frozen=True)
class LinkState:
    """The link as it is."""

    index: int
    kind: str  # wireguard, tun, …
    up: bool
    mtu: int
    addresses: frozenset[str]  # as in LinkSettings.addresses; without those of the link itself
    routed: frozenset[str]  # those of the mesh's ranges to which the kernel sends through this link


@dataclass(frozen=True)
class Nic:
    """A network interface of the underlay."""

    name: str
    mtu: int
    addresses: tuple[str, ...] = field(default=())  # with the length of their network


class Verb(Enum):
    """What a step does."""

    REMOVE_ADDRESS = "removed the address"
    SET_MTU = "set the MTU to"
    ADD_ADDRESS = "added the address"
    ADD_ROLE_ADDRESS = "added the role's address"
    SET_UP = "brought up"
    ADD_ROUTE = "added the route to"


class Step(NamedTuple):
    """A step; `value` is an address, a range, an MTU, or the name of the link."""

    verb: Verb
    value: str

    def __str__(self) -> str:
        return f"{self.verb.value} {self.value}"


def plan_link(name: str, state: LinkState, settings: LinkSettings) -> tuple[Step, ...]:
    """Return the steps in their order; none when all is as it should be."""
    wanted = settings.addresses
    steps = [Step(Verb.REMOVE_ADDRESS, address) for address in sorted(state.addresses - wanted.keys())]
    if state.mtu != settings.mtu:
        # Before the addresses: with less than 1280 bytes the kernel takes no IPv6 address.
        steps.append(Step(Verb.SET_MTU, str(settings.mtu)))
    missing = [address for address in wanted if address not in state.addresses]
    moving = {address for address in wanted if address.partition("/")[0] in settings.roles}
    steps += [
        Step(Verb.ADD_ROLE_ADDRESS if address in moving else Verb.ADD_ADDRESS, address) for address in missing
    ]
    if not state.up:
        steps.append(Step(Verb.SET_UP, name))
        return tuple(steps)
    for address, network in wanted.items():
        # With a new address the kernel makes the route itself.
        if address not in missing and network not in state.routed:
            steps.append(Step(Verb.ADD_ROUTE, network))
    return tuple(steps)


def find_overlaps(nics: Iterable[Nic], settings: LinkSettings) -> list[str]:
    """Return a part of a sentence for each network of the underlay that shares addresses with the mesh."""
    found = []
    mesh = [ipaddress.ip_network(text) for text in settings.addresses.values()]
    for nic in nics:
        for text in nic.addresses:
            network = ipaddress.ip_interface(text).network
            found += [
                f"{nic.name} has {text}, within reach of the mesh's {own}"
                for own in mesh
                if own.version == network.version and own.overlaps(network)
            ]
    return found
