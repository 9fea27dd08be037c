# SPDX-License-Identifier: Apache-2.0
"""Which WireGuard peers there should be, and the fewest changes that lead there. Pure.

Peers are the admitted members, whether they gossip or not: down is not removed. What gossip says decides only
where a peer is tried (agent/mesh/endpoints.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from agent.cluster import Member, MeshPeer, Peer
from agent.identity import identity_of_node_id
from agent.membership.addresses import mesh_ipv6, mesh_network
from agent.mesh.endpoints import Ranges, choose_endpoint, list_candidates
from agent.mesh.sessions import Endpoint, Session

KEEPALIVE = 25
"""Seconds between packets that keep a NAT's entry alive (wg(8))."""


@dataclass(frozen=True)
class SetPeer:
    """Make the peer, or give it these values; its endpoint stays as it is where `peer` has none."""

    peer: MeshPeer


@dataclass(frozen=True)
class RemovePeer:
    """Take the peer away, and with it its session."""

    public_key: str


Change = SetPeer | RemovePeer


@dataclass(frozen=True)
class MeshNetwork:
    """The ranges of the mesh."""

    cluster_id: str
    ipv4_range: str  # CIDR

    @property
    def ranges(self) -> tuple[str, str]:
        """The IPv4 and the IPv6 range, as CIDR."""
        return self.ipv4_range, str(mesh_network(self.cluster_id))


def wanted_peers(
    network: MeshNetwork,
    members: Iterable[Member],
    gossip: Iterable[Peer],
    own: str,
    *,
    observed: Mapping[str, MeshPeer],
    sessions: Mapping[str, Session],
    now: float,
    keepalive: int = KEEPALIVE,
    known: Mapping[str, Sequence[Endpoint]] | None = None,
    roles: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, MeshPeer]:
    """Return the peers of node `own` by WireGuard public key.

    `members` are the ledger's, or the genesis' founders while there is no ledger. `known` are endpoints by
    node ID from elsewhere: the admission answer, or what was seen before a reboot; `roles` the addresses of
    the roles that each node holds. `now` is monotonic.
    """
    seen = _best_sighting(gossip)
    ranges = _ranges(network)
    wanted: dict[str, MeshPeer] = {}
    given: set[str] = set()
    # In order of admission: should two members have one address, the same one keeps it on all nodes.
    for member in sorted(members, key=lambda member: (member.number, member.node_id)):
        if member.node_id == own:
            given.add(f"{member.ipv4}/32")
            continue
        key = wireguard_key(member.node_id)
        moving = {f"{address}/128" for address in (roles or {}).get(member.node_id, ())}
        addresses = {f"{member.ipv4}/32", _ipv6(network.cluster_id, member.node_id), *moving} - given
        given |= addresses
        session, current = sessions.get(key), observed.get(key)
        others = list((known or {}).get(member.node_id, ()))
        if session is not None and session.endpoint is not None:
            others.append(session.endpoint)
        sighting = seen.get((member.node_id, member.hardware))
        candidates = list_candidates(sighting, others, ranges)
        alive_since = sighting.seen if sighting and sighting.alive else None
        wanted[key] = MeshPeer(
            public_key=key,
            allowed_ips=tuple(sorted(addresses)),
            endpoint=choose_endpoint(
                candidates, session, current.endpoint if current else None, alive_since, now
            ),
            keepalive=keepalive,
        )
    return wanted


def diff(observed: Mapping[str, MeshPeer], wanted: Mapping[str, MeshPeer]) -> tuple[Change, ...]:
    """Return what leads from `observed` to `wanted`: removals first, each peer touched at most once.

    An endpoint that is right is not set again: it could have moved since the look.
    """
    changes: list[Change] = [RemovePeer(key) for key in sorted(observed.keys() - wanted.keys())]
    for key in sorted(wanted):
        peer, present = wanted[key], observed.get(key)
        if present is None:
            changes.append(SetPeer(peer))
            continue
        moves = peer.endpoint is not None and peer.endpoint != present.endpoint
        if moves or peer.allowed_ips != present.allowed_ips or peer.keepalive != present.keepalive:
            changes.append(SetPeer(peer if moves else replace(peer, endpoint=None)))
    return tuple(changes)


def describe(changes: Sequence[Change]) -> str:
    """Return a part of a sentence: what `changes` do; empty when there are none."""
    removed = sum(isinstance(change, RemovePeer) for change in changes)
    parts = [
        f"{verb} {count} mesh peer{'' if count == 1 else 's'}"
        for verb, count in (("set", len(changes) - removed), ("removed", removed))
        if count
    ]
    return ", ".join(parts)


# Base58 and the map between the curves take a tenth of a millisecond, too much for a thousand at each tick.
@lru_cache(maxsize=16384)
def wireguard_key(node_id: str) -> str:
    """Return the WireGuard public key (base64) of a node; ClusterError when `node_id` is none."""
    return identity_of_node_id(node_id).wireguard_public_key


@lru_cache(maxsize=16384)
def _ipv6(cluster_id: str, node_id: str) -> str:
    return f"{mesh_ipv6(cluster_id, node_id)}/128"


@lru_cache(maxsize=8)
def _ranges(network: MeshNetwork) -> Ranges:
    return network.ranges


def _best_sighting(gossip: Iterable[Peer]) -> dict[tuple[str, str], Peer]:
    """Return what gossip says by node ID and hardware: where a clone is leads nobody to the original."""
    seen: dict[tuple[str, str], Peer] = {}
    for peer in gossip:
        place = (peer.node_id, peer.hardware)
        best = seen.get(place)
        if best is None or (peer.alive, peer.seen) > (best.alive, best.seen):
            seen[place] = peer
    return seen
