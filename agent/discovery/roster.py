# SPDX-License-Identifier: Apache-2.0
"""Who gossips: the peers and the strangers among Serf's members. Pure.

A signature is checked once for each announcement, not at every look: what was found is kept in the roster,
for the members that are there, and goes with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.cluster import Peer
from agent.discovery.serf_records import SerfMember
from agent.discovery.tags import Announcement, Reason, Stranger, decode, make_peer


class Known(NamedTuple):
    """What was found out about a member."""

    tags: Mapping[str, str]
    found: Announcement | Reason
    peer: Peer | None


@dataclass(frozen=True)
class Roster:
    peers: tuple[Peer, ...] = ()  # in the order of their names, this node included
    strangers: tuple[Stranger, ...] = ()  # those that are alive
    known: Mapping[str, Known] = field(default_factory=dict, repr=False)  # by name


def read_roster(members: Sequence[SerfMember], before: Roster, now: float) -> Roster:
    """Return who gossips, with what is known from the roster `before`; `now` is monotonic time in seconds."""
    peers: list[Peer] = []
    strangers: list[Stranger] = []
    known: dict[str, Known] = {}
    for member in sorted(members, key=lambda member: member.name):
        old = before.known.get(member.name)
        same = old is not None and old.tags == member.tags
        found = old.found if old and same else decode(member)
        peer = None
        if isinstance(found, Announcement):
            peer = _renew(member, found, old.peer if old else None, now, same=same)
            peers.append(peer)
        elif member.alive:
            strangers.append(Stranger(member.name, member.address, found))
        known[member.name] = Known(member.tags, found, peer)
    return Roster(tuple(peers), tuple(strangers), known)


def _renew(
    member: SerfMember, announcement: Announcement, old: Peer | None, now: float, *, same: bool
) -> Peer:
    if old and same and old.alive == member.alive and old.address == member.address:
        return old
    since = old.seen if old and old.alive == member.alive else now
    return make_peer(member, announcement, seen=since)
