# SPDX-License-Identifier: Apache-2.0
"""How the mesh is, for the status and the metrics. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from agent.cluster import Member, MeshPeer
from agent.identity import identity_of_node_id
from agent.mesh.plan import wireguard_key
from agent.mesh.sessions import Endpoint, Session, is_live

NAMED = 3
"""So many nodes are named in a sentence."""


class PeerState(Enum):
    """Whether a peer can be reached; the values are those of the status document."""

    UP = "up"  # a handshake within the last 180 s
    STALE = "down"  # a handshake, but longer ago
    NEVER = "unknown"  # no handshake since the interface was made


@dataclass(frozen=True)
class PeerHealth:
    """The session with one member."""

    node_id: str
    state: PeerState
    age: float | None  # seconds since the last handshake
    endpoint: Endpoint | None
    received: int  # bytes
    sent: int


@dataclass(frozen=True)
class MeshHealth:
    """The sessions with all members but oneself, in order of their node IDs."""

    peers: tuple[PeerHealth, ...]
    sentence: str


def assess(
    members: Iterable[Member],
    own: str,
    observed: Mapping[str, MeshPeer],
    sessions: Mapping[str, Session],
    now: float,
) -> MeshHealth:
    """Return the health of node `own`'s mesh; `now` is monotonic time in seconds.

    A member that is no peer yet counts as never reached.
    """
    node_ids = sorted(member.node_id for member in members if member.node_id != own)
    peers = tuple(_assess_peer(node_id, observed, sessions, now) for node_id in node_ids)
    return MeshHealth(peers, _say(peers))


def _assess_peer(
    node_id: str, observed: Mapping[str, MeshPeer], sessions: Mapping[str, Session], now: float
) -> PeerHealth:
    key = wireguard_key(node_id)
    peer, session = observed.get(key), sessions.get(key)
    if peer is None or session is None or session.handshake is None:
        state, age = PeerState.NEVER, None
    else:
        state, age = PeerState.UP if is_live(session, now) else PeerState.STALE, now - session.since
    return PeerHealth(
        node_id=node_id,
        state=state,
        age=age,
        endpoint=peer.endpoint if peer else None,
        received=peer.received if peer else 0,
        sent=peer.sent if peer else 0,
    )


def _say(peers: tuple[PeerHealth, ...]) -> str:
    if not peers:
        return "the mesh has no other member"
    up = sum(peer.state is PeerState.UP for peer in peers)
    parts = [f"{up} of {len(peers)} mesh peer{'' if len(peers) == 1 else 's'} up"]
    for state, words in ((PeerState.STALE, "no handshake lately"), (PeerState.NEVER, "no handshake yet")):
        these = [peer.node_id for peer in peers if peer.state is state]
        if these:
            names = ", ".join(identity_of_node_id(node_id).hostname for node_id in these[:NAMED])
            more = f" and {len(these) - NAMED} more" if len(these) > NAMED else ""
            parts.append(f"{words}: {names}{more}")
    return "; ".join(parts)
