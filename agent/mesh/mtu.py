# SPDX-License-Identifier: Apache-2.0
"""The MTU of the mesh. Pure.

WireGuard adds 80 bytes at most: 40 of IPv6, 8 of UDP, 16 of its header, 16 of its tag (its paper, 5.4.6).

Found out is never more than 1420: a node with jumbo frames would send packets that a node without them cannot
receive, and nothing would say so. Where all machines and all switches have them, networking.mtu says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass

OVERHEAD = 80
MINIMUM = 1280  # IPv6 needs it (RFC 8200, 5); on a narrower underlay the outer packets are fragmented
USUAL = 1500 - OVERHEAD


@dataclass(frozen=True)
class Mtu:
    """The MTU in bytes, and what a person should know about it, if anything."""

    value: int
    warning: str = ""


def choose_mtu(underlay: Iterable[int], configured: int = 0) -> Mtu:
    """Return the MTU of the mesh.

    `underlay` are the MTUs of the interfaces that may carry it, or of the routes to the peers; none: not
    known yet. `configured` is networking.mtu; 0: find out.
    """
    narrowest = min(underlay, default=USUAL + OVERHEAD)
    fits = narrowest - OVERHEAD
    if configured:
        value = max(configured, MINIMUM)
        if configured < MINIMUM:
            return Mtu(value, f"networking.mtu is {configured}: {MINIMUM} is the least that IPv6 works with")
        if value > fits:
            return Mtu(value, f"networking.mtu is {value}: the network interfaces carry no more than {fits}")
        return Mtu(value)
    if fits < MINIMUM:
        return Mtu(
            MINIMUM,
            f"a network interface has an MTU of {narrowest}: packets of the mesh are fragmented there",
        )
    return Mtu(min(fits, USUAL))
