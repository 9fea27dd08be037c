# SPDX-License-Identifier: Apache-2.0
"""Who gossips: the peers and the strangers among Serf's members. Pure.

A signature is checked once for each announcement, not at every look: what was proved is kept in the roster,
for the members that are there, and goes with them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.cluster import Peer
from agent.discovery.serf_records import SerfMember
from agent.discovery.tags import Announcement, Reason, Stranger, decode, make_peer


@dataclass(frozen=True)
class Roster:
    peers: tuple[Peer, ...] = ()  # in the order of their names, this node included
    strangers: tuple[Stranger, ...] = ()  # those that are alive
    seen: Mapping[str, tuple[bool, float]] = field(default_factory=dict)  # name -> alive, since when
    proved: Mapping[bytes, Announcement | Reason] = field(default_factory=dict, repr=False)


def read_roster(members: Sequence[SerfMember], before: Roster, now: float) -> Roster:
    """Return who gossips, with what is known from the roster `before`; `now` is monotonic time in seconds."""
    peers: list[Peer] = []
    strangers: list[Stranger] = []
    seen: dict[str, tuple[bool, float]] = {}
    proved: dict[bytes, Announcement | Reason] = {}
    for member in sorted(members, key=lambda member: member.name):
        key = _key(member)
        found = before.proved.get(key) or decode(member)
        proved[key] = found
        if isinstance(found, Reason):
            if member.alive:
                strangers.append(Stranger(member.name, member.address, found))
            continue
        known = before.seen.get(member.name)
        since = known[1] if known and known[0] == member.alive else now
        seen[member.name] = (member.alive, since)
        peers.append(make_peer(member, found, seen=since))
    return Roster(tuple(peers), tuple(strangers), seen, proved)


def _key(member: SerfMember) -> bytes:
    parts = [member.name, *(text for pair in sorted(member.tags.items()) for text in pair)]
    # repr, as it quotes each part: nothing has been checked yet.
    return hashlib.sha256(repr(parts).encode()).digest()
