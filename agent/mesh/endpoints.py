# SPDX-License-Identifier: Apache-2.0
"""At which of its addresses a peer is tried. Pure.

- A live session keeps its endpoint: WireGuard itself follows the peer to wherever its authenticated packets
  come from, and a rumour must not lead them elsewhere.
- A peer that gossip does not see alive keeps its endpoint too: there is nobody to be found elsewhere.
- Else the addresses are tried in turn, PATIENCE seconds each: where gossip sees the peer, what it announces
  besides, what was known before, and where it was at its last handshake (behind a NAT, only that one).

        last handshake       + LIVE_SECONDS      + PATIENCE         + 2 PATIENCE
        |--- not touched ----|-- first address --|-- second --------|-- ... and round again

  A peer without any handshake, and one that gossip has just found again, begins with the first address.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from agent.cluster import Peer
from agent.mesh.sessions import LIVE_SECONDS, Endpoint, Session, is_live

PATIENCE = 10.0
"""Seconds for one address: WireGuard sends a handshake every 5 s (Rekey-Timeout)."""
MAX_CANDIDATES = 16

Ranges = tuple[str, ...]  # CIDRs


def list_candidates(gossip: Peer | None, known: Iterable[Endpoint], mesh: Ranges) -> tuple[Endpoint, ...]:
    """Return the endpoints of a peer, the likeliest first, without doubles and without those that cannot be.

    An endpoint in `mesh`, the mesh's own ranges, would send the tunnel through itself.
    """
    found: dict[Endpoint, None] = {}
    if gossip is not None:
        for address in (gossip.address, *gossip.addresses):
            _add(found, address, gossip.wireguard_port, mesh)
    for address, port in known:
        _add(found, address, port, mesh)
    return tuple(found)[:MAX_CANDIDATES]


def choose_endpoint(
    candidates: Sequence[Endpoint],
    session: Session | None,
    current: Endpoint | None,
    alive_since: float | None,
    now: float,
) -> Endpoint | None:
    """Return the endpoint to use; None: none is known.

    `current` is the one in use; `alive_since` is the monotonic time from which gossip sees the peer alive,
    None where it does not.
    """
    if is_live(session, now) or not candidates:
        return current
    if session is None:
        return candidates[0]
    if alive_since is None:
        return current or candidates[0]
    tried_from = session.since + (0.0 if session.handshake is None else LIVE_SECONDS)
    begun = max(alive_since, tried_from)
    return candidates[int(max(0.0, now - begun) / PATIENCE) % len(candidates)]


def _add(found: dict[Endpoint, None], address: str, port: int, mesh: Ranges) -> None:
    if (usable := _usable(address, mesh)) and 0 < port <= 65535:
        found[(usable, port)] = None


# At every tick the same few addresses of every member come by.
@lru_cache(maxsize=65536)
def _usable(text: str, mesh: Ranges) -> str | None:
    """Return the address in its usual form, None where no other machine can be."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_multicast or address.is_unspecified:
        return None
    # Without a scope an IPv6 address of the link leads nowhere.
    if address.version == 6 and address.is_link_local:
        return None
    if str(address) == "255.255.255.255" or any(address in _network(text) for text in mesh):
        return None
    return str(address)


@lru_cache(maxsize=64)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)
