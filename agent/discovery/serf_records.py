# SPDX-License-Identifier: Apache-2.0
"""What Serf says over its RPC, as records: members, events, answers to queries. Pure.

Names, tags and payloads come from other machines by way of Serf, which checks hardly anything, so nothing
here trusts them: what has not the right type or length is left out, and text that is not UTF-8 is kept
readable but can never equal what a node signed.

Source: Serf 0.10.1, cmd/serf/command/agent/ipc.go (`Member`, `memberEventRecord`, `queryEventRecord`,
`userEventRecord`, `queryRecord`). Keys arrive as bytes, as the stream is read without decoding text.
"""

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple

from agent.discovery.query_size import QUERY_BYTES
from agent.errors import ClusterError

MAX_NAME_CHARACTERS = 128  # Serf's own limit for names, serf/serf.go
MAX_TAGS = 64
_STATUSES = ("none", "alive", "leaving", "left", "failed")


class SerfMember(NamedTuple):
    """A node as Serf's member list has it. Nothing in it is proved: see agent/discovery/tags.py."""

    name: str
    address: str  # IPv4 or IPv6
    port: int  # of its gossip
    status: str  # none, alive, leaving, left or failed
    tags: Mapping[str, str]

    @property
    def alive(self) -> bool:
        return self.status == "alive"


class MembersChanged(NamedTuple):
    kind: str  # member-join, member-leave, member-failed, member-update, member-reap
    members: tuple[SerfMember, ...]


class MembersLogged(NamedTuple):
    """Serf has written into its log that a member came, failed, left or changed."""

    line: str  # not to be relied on; `members` tells what is


class QueryReceived(NamedTuple):
    """A query that waits for `SerfRpc.respond`; also our own ones arrive here."""

    id: int
    name: str
    payload: bytes


class UserEvent(NamedTuple):
    name: str
    payload: bytes


class QueryAnswer(NamedTuple):
    query: int  # what `SerfRpc.query` returned
    node: str  # Serf name that the answer claims to be from
    payload: bytes


class QueryAcknowledged(NamedTuple):
    query: int
    node: str


class QueryDone(NamedTuple):
    """The time of a query is over; no more answers to it follow."""

    query: int


class Lost(NamedTuple):
    """The connection to Serf is gone, and with it all open queries."""

    error: ClusterError


Event = (
    MembersChanged
    | MembersLogged
    | QueryReceived
    | UserEvent
    | QueryAnswer
    | QueryAcknowledged
    | QueryDone
    | Lost
)


def read_members(body: Mapping[bytes, object]) -> tuple[SerfMember, ...]:
    """Return the members in an answer or an event; what is no member is left out."""
    found = body.get(b"Members")
    entries = found if isinstance(found, list) else []
    return tuple(member for entry in entries if (member := _read_member(entry)))


def read_event(body: Mapping[bytes, object]) -> Event | None:
    """Return the event in a record of `stream`; None when it is none that we know."""
    kind = _text(body.get(b"Event"))
    if kind.startswith("member-"):
        return MembersChanged(kind, read_members(body))
    name, payload = _text(body.get(b"Name")), _payload(body.get(b"Payload"))
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or payload is None:
        return None
    if kind == "user":
        return UserEvent(name, payload)
    query = body.get(b"ID")
    if kind == "query" and _is_number(query, 1 << 64):
        assert isinstance(query, int)
        return QueryReceived(query, name, payload)
    return None


def read_log(body: Mapping[bytes, object]) -> MembersLogged | None:
    """Return what a record of `monitor` says; None for all lines but those about members.

    Such a line is `DATE TIME [INFO] serf: EventMemberFailed: NAME ADDRESS` (serf/serf.go).
    """
    line = _text(body.get(b"Log"))
    return MembersLogged(line) if "] serf: EventMember" in line else None


def read_answer(query: int, body: Mapping[bytes, object]) -> Event | None:
    """Return what a record that follows a query says; None when it is nothing that we know."""
    kind, node, payload = _text(body.get(b"Type")), _text(body.get(b"From")), _payload(body.get(b"Payload"))
    if kind == "done":
        return QueryDone(query)
    if not 0 < len(node) <= MAX_NAME_CHARACTERS:
        return None
    if kind == "ack":
        return QueryAcknowledged(query, node)
    return QueryAnswer(query, node, payload) if kind == "response" and payload is not None else None


def read_stats(body: Mapping[bytes, object]) -> dict[str, dict[str, str]]:
    """Return the answer to `stats`: groups of names and values, all of them text."""
    return {
        _text(group): {_text(key): _text(value) for key, value in values.items()}
        for group, values in body.items()
        if isinstance(values, dict)
    }


def _read_member(entry: object) -> SerfMember | None:
    if not isinstance(entry, dict):
        return None
    name, status, port, tags = (entry.get(key) for key in (b"Name", b"Status", b"Port", b"Tags"))
    address = _address(entry.get(b"Addr"))
    name, status = _text(name), _text(status)
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or status not in _STATUSES or not address:
        return None
    tags = {} if tags is None else tags
    if not _is_number(port, 1 << 16) or not isinstance(tags, dict) or len(tags) > MAX_TAGS:
        return None
    assert isinstance(port, int)
    texts = {_text(key): _text(value) for key, value in tags.items()}
    return SerfMember(name, address, port, status, texts)


def _address(value: object) -> str:
    if isinstance(value, bytes) and len(value) == 4:
        return ".".join(map(str, value))  # much faster, and it is done for each member at each look
    try:
        found = ipaddress.ip_address(value) if isinstance(value, bytes) else None
    except ValueError:
        return ""
    # Go holds an IPv4 address in 4 bytes or in 16, as it comes.
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found or "")


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _payload(value: object) -> bytes | None:
    """Return the payload, which Serf writes as nil when it is empty; None when it is no payload."""
    if value is None:
        return b""
    return value if isinstance(value, bytes) and len(value) <= QUERY_BYTES else None


def _is_number(value: object, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < end
