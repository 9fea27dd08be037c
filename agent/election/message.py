# SPDX-License-Identifier: Apache-2.0
"""What replicas say to each other: PySyncObj's messages as msgpack, checked on arrival. Pure.

PySyncObj itself sends pickles, whose reading runs what the sender likes. Here each message is a map with a
known set of fields of known kinds, and a log entry that PySyncObj would stumble over is refused before it is
in any log. A message of PySyncObj is a dict with the same names. The one field of our own is `term` in
`next_node_idx`: without it an answer that was long under way could count for a later term of the same leader.
"""

from collections.abc import Callable
from typing import Any

import msgpack

from agent.election import command
from agent.errors import ClusterError

Message = dict[str, Any]
MAX_COMMAND = (2 << 20) + 1
"""Bytes of one command with its kind: as agent/membership/ledger.py has them."""
BATCH = 3 << 20
"""Bytes of entries in a message. Above MAX_COMMAND: PySyncObj cuts up and pickles longer ones."""
MAX_MESSAGE = BATCH + MAX_COMMAND + (64 << 10)
MAX_ENTRIES = 100_000
CHUNK = 256 << 10
"""Bytes of a snapshot in one message."""
_MAX_NUMBER = 1 << 62


def _number(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX_NUMBER


def _number_or_nil(value: object) -> bool:
    return value is None or _number(value)


def _flag(value: object) -> bool:
    return type(value) is bool


def _regular(value: object) -> bool:
    # Who votes is changed by the leader alone, not on request.
    return isinstance(value, bytes) and len(value) <= MAX_COMMAND and command.is_regular(value)


def _entries(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_ENTRIES and all(map(_is_entry, value))


def _is_entry(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], bytes)
        and len(value[0]) <= MAX_COMMAND
        and command.is_command(value[0])
        and _number(value[1])
        and _number(value[2])
    )


def _chunk(value: object) -> bool:
    return value is None or (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], bytes)
        and len(value[0]) <= CHUNK
        and _flag(value[1])
        and _flag(value[2])
    )


_KINDS: dict[str, tuple[dict[str, Callable[[object], bool]], ...]] = {
    "append_entries": (
        {
            "term": _number,
            "commit_index": _number,
            "entries": _entries,
            "prevLogIdx": _number_or_nil,
            "prevLogTerm": _number_or_nil,
        },
        {"term": _number, "commit_index": _number, "serialized": _chunk},
    ),
    "next_node_idx": ({"next_node_idx": _number, "reset": _flag, "success": _flag, "term": _number},),
    "request_vote": ({"term": _number, "last_log_index": _number, "last_log_term": _number},),
    "response_vote": ({"term": _number},),
    "timeout_now": ({"term": _number},),
    "apply_command": ({"command": _regular, "request_id": _number},),
    "apply_command_response": (
        {"request_id": _number, "error": _number},
        {"request_id": _number, "log_idx": _number, "log_term": _number},
    ),
}


def encode(message: Message) -> bytes:
    """Return the bytes of a message of PySyncObj."""
    data: bytes = msgpack.packb(message)
    return data


def decode(data: bytes) -> Message:
    """Return the message in `data`; ClusterError when it is none that a replica sends."""
    try:
        message = msgpack.unpackb(data)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        raise ClusterError("a Raft message is not msgpack") from None
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ClusterError("a Raft message is of no known kind")
    if not any(_fits(message, fields) for fields in _KINDS[kind]):
        raise ClusterError(f"a Raft message {kind} has wrong fields")
    found: Message = message
    if "entries" in found:
        _check_row(found)
    return found


def _fits(message: Message, fields: dict[str, Callable[[object], bool]]) -> bool:
    return message.keys() == {"type", *fields} and all(fits(message[name]) for name, fits in fields.items())


def _check_row(message: Message) -> None:
    """Refuse entries that do not follow on each other and on what the leader says stands before them."""
    before = message["prevLogIdx"], message["prevLogTerm"]
    if before[0] is None or before[1] is None:
        if message["entries"] or before != (None, None):
            raise ClusterError("a Raft message has entries that follow on nothing")
        return
    index, term = before
    for entry in message["entries"]:
        index += 1
        if entry[1] != index or not term <= entry[2] <= message["term"]:
            raise ClusterError("a Raft message has entries out of order")
        term = entry[2]
