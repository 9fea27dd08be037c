# SPDX-License-Identifier: Apache-2.0
"""The bytes of a Raft snapshot: the state up to one entry, and where in the log that is. Pure.

    "ClusterOS raft snapshot 1\\n", SHA-256 of the rest (32 bytes), msgpack map:
    begins    true: a log begins here, by founding or recovery, and no journal counts beside it
    previous  [command, index, term] of the entry before the last
    last      [command, index, term] of the last entry that the state holds
    voters    addresses, sorted: who has a vote at `last`
    state     the state machine's own bytes

PySyncObj keeps the last two entries of what a snapshot replaces, so that the next ones can follow on them.
"""

import hashlib
from dataclasses import dataclass

import msgpack

from agent.election.address import is_address
from agent.election.journal_format import Entry
from agent.errors import ClusterError

MAGIC = b"ClusterOS raft snapshot 1\n"
MAX_BYTES = 64 << 20
MAX_VOTERS = 16  # one more than wanted while one is replaced, and room
_HEAD = len(MAGIC) + hashlib.sha256().digest_size
_KEYS = {"begins", "previous", "last", "voters", "state"}


@dataclass(frozen=True)
class Snapshot:
    previous: Entry
    last: Entry
    voters: tuple[str, ...]
    state: bytes
    begins: bool = False


def encode(snapshot: Snapshot) -> bytes:
    body: bytes = msgpack.packb(
        {
            "begins": snapshot.begins,
            "previous": list(snapshot.previous),
            "last": list(snapshot.last),
            "voters": sorted(snapshot.voters),
            "state": snapshot.state,
        }
    )
    return MAGIC + hashlib.sha256(body).digest() + body


def decode(data: bytes, where: str) -> Snapshot:
    """Return the snapshot in `data`; ClusterError names `where` when it is damaged or makes no sense."""
    body = data[_HEAD:]
    if data[: len(MAGIC)] != MAGIC or hashlib.sha256(body).digest() != data[len(MAGIC) : _HEAD]:
        raise _damaged(where)
    try:
        content = msgpack.unpackb(body, max_bin_len=MAX_BYTES)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        raise _damaged(where) from None
    if not isinstance(content, dict) or content.keys() != _KEYS:
        raise _damaged(where)
    previous, last = _entry(content["previous"]), _entry(content["last"])
    voters, state, begins = content["voters"], content["state"], content["begins"]
    if (
        previous is None
        or last is None
        or last[1] != previous[1] + 1
        or last[2] < previous[2]
        or not isinstance(voters, list)
        or not 0 < len(voters) <= MAX_VOTERS
        or not all(is_address(voter) for voter in voters)
        or len(set(voters)) != len(voters)
        or not isinstance(state, bytes)
        or not isinstance(begins, bool)
    ):
        raise _damaged(where)
    return Snapshot(previous, last, tuple(voters), state, begins)


def _entry(value: object) -> Entry | None:
    if not isinstance(value, list) or [type(part) for part in value] != [bytes, int, int]:
        return None
    command, index, term = value
    return (command, index, term) if command and index >= 1 and term >= 0 else None


def _damaged(where: str) -> ClusterError:
    return ClusterError(
        f"{where}: the Raft snapshot is damaged",
        hint="this node must not vote with it: let another voter take its place, or see node-agent recover",
    )
