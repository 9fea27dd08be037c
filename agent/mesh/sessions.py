# SPDX-License-Identifier: Apache-2.0
"""When each WireGuard peer last completed a handshake, in monotonic time. Pure.

WireGuard gives the wall-clock time of a handshake, from which no age follows once the clock was set. So an
age is counted from the moment at which the handshake was first seen. The wall clock is asked only at the
first look at a peer, after a start of the agent; there a wrong one does no more than have another address
tried early or late.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.cluster import MeshPeer

Endpoint = tuple[str, int]  # address and UDP port, on the underlay

LIVE_SECONDS = 180.0
"""After that long without a handshake no packet is accepted: Reject-After-Time, WireGuard paper, 6.1."""


@dataclass(frozen=True)
class Session:
    """What is remembered of a peer from one look to the next."""

    handshake: int | None  # as WireGuard gave it last, Unix seconds; None: never
    since: float  # monotonic time of that handshake, without one of the first look at the peer
    endpoint: Endpoint | None = None  # where the peer was at that handshake


def follow_sessions(
    sessions: Mapping[str, Session], observed: Mapping[str, MeshPeer], now: float, wall: float
) -> dict[str, Session]:
    """Return the sessions after a look at the peers `observed`, by public key like all three.

    `now` is monotonic time, `wall` is Unix time, both in seconds.
    """
    return {key: _follow(sessions.get(key), peer, now, wall) for key, peer in observed.items()}


def is_live(session: Session | None, now: float) -> bool:
    """Whether the peer can receive what is sent to its present endpoint."""
    return session is not None and session.handshake is not None and now - session.since < LIVE_SECONDS


def _follow(before: Session | None, peer: MeshPeer, now: float, wall: float) -> Session:
    if peer.handshake is None:
        if before is not None and before.handshake is None:
            return before
        # Also where there was a handshake: the interface was made anew.
        return Session(None, now, before.endpoint if before else None)
    if before is None:
        return Session(peer.handshake, now - max(0.0, wall - peer.handshake), peer.endpoint)
    if before.handshake == peer.handshake:
        return before
    return Session(peer.handshake, now, peer.endpoint)
