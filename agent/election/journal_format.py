# SPDX-License-Identifier: Apache-2.0
"""The bytes of a Raft journal: records in the order they were promised, and how far they were. Pure.

    offset 0     "ClusterOS raft 1"
    offset 512   mark A   u64 number, u64 durable, u32 CRC-32 of both
    offset 1024  mark B   the same; the one with the higher number counts
    offset 4096  records  u32 length of the body, u8 kind, body, u32 rolling CRC-32

All numbers are big-endian. The checksum of a record goes on from the checksum of the record before, as in
etcd's write-ahead log (https://github.com/etcd-io/etcd/tree/main/server/storage/wal): what is read is an
unbroken row from the first record on.

What a power cut may do to the file, and what only a fault of the disk does, is told apart by the mark: after
each fsync it is set to the end of what that fsync made durable, and it reaches the disk with the next one at
the latest. Records below it were promised to other nodes: one that cannot be read there is damage, and the
journal is refused. Behind it a record that cannot be read was being written when the power went; nothing
that depends on it has left this node, as answers wait for the fsync. It and what follows is cut off.
"""

import struct
import zlib
from dataclasses import dataclass, field

from agent.errors import ClusterError

Entry = tuple[bytes, int, int]
"""A command, its index and its term, in PySyncObj's order."""

MAGIC = b"ClusterOS raft 1"
MARKS = (512, 1024)
START = 4096
MAX_BODY = 16 << 20
ENTRY, CUT, VOTE, COMMIT = 1, 2, 3, 4
_MARK = struct.Struct(">QQI")
_HEAD = struct.Struct(">IB")
_NUMBERS = struct.Struct(">QQ")
_NUMBER = struct.Struct(">Q")
_SUM = struct.Struct(">I")


@dataclass
class Contents:
    """What the records of a journal add up to."""

    entries: list[Entry] = field(default_factory=list)  # with consecutive indices
    term: int = 0
    vote: str | None = None  # address of the candidate that got this node's vote in `term`
    commit: int = 1  # an index that is known to be committed; may lag
    checksum: int = 0  # of the last record
    end: int = START  # offset behind the last record


def encode_mark(number: int, durable: int) -> bytes:
    """Return the mark `number`: everything before the offset `durable` has been forced to the disk."""
    return _MARK.pack(number, durable, zlib.crc32(_NUMBERS.pack(number, durable)))


def encode_record(kind: int, body: bytes, checksum: int) -> tuple[bytes, int]:
    """Return a record that follows one with `checksum`, and its own checksum."""
    head = _HEAD.pack(len(body), kind)
    checksum = zlib.crc32(body, zlib.crc32(head, checksum))
    return head + body + _SUM.pack(checksum), checksum


def entry_body(entry: Entry) -> bytes:
    command, index, term = entry
    return _NUMBERS.pack(index, term) + command


def number_body(number: int) -> bytes:
    """The body of a CUT (first index that is gone) or COMMIT record."""
    return _NUMBER.pack(number)


def vote_body(term: int, vote: str | None) -> bytes:
    return _NUMBER.pack(term) + (vote or "").encode()


def encode(contents: Contents) -> bytes:
    """Return a whole journal with `contents`; sets its `checksum` and `end` to those of the result."""
    records = bytearray()
    contents.checksum = 0
    for kind, body in (
        (VOTE, vote_body(contents.term, contents.vote)),
        *((ENTRY, entry_body(entry)) for entry in contents.entries),
        (COMMIT, number_body(contents.commit)),
    ):
        record, contents.checksum = encode_record(kind, body, contents.checksum)
        records += record
    contents.end = START + len(records)
    head = bytearray(START)
    head[: len(MAGIC)] = MAGIC
    for number, offset in enumerate(MARKS):
        mark = encode_mark(number, contents.end)
        head[offset : offset + len(mark)] = mark
    return bytes(head) + bytes(records)


def decode(data: bytes, where: str) -> tuple[Contents, int]:
    """Return what the journal `data` holds, and the number of its newest mark.

    `Contents.end` is less than the length of `data` when a power cut left something behind the last good
    record: cut it off. ClusterError when the file named `where` is no journal, or was damaged.
    """
    if data[: len(MAGIC)] != MAGIC or len(data) < START:
        raise _damaged(where, "it does not begin like one")
    marks = [mark for offset in MARKS if (mark := _decode_mark(data[offset : offset + _MARK.size]))]
    if not marks:
        raise _damaged(where, "both marks of what was promised are broken")
    number, durable = max(marks)
    contents = Contents()
    while (record := _read_record(data, contents.end, contents.checksum)) is not None:
        kind, body, checksum = record
        if not _take(contents, kind, body):
            raise _damaged(where, f"the record at byte {contents.end} makes no sense")
        contents.checksum = checksum
        contents.end += _HEAD.size + len(body) + _SUM.size
    if contents.end < durable:
        raise _damaged(where, f"the record at byte {contents.end} is broken, and it was promised")
    return contents, number


def _decode_mark(data: bytes) -> tuple[int, int] | None:
    number, durable, checksum = _MARK.unpack(data)
    return (number, durable) if checksum == zlib.crc32(data[: _NUMBERS.size]) else None


def _read_record(data: bytes, offset: int, checksum: int) -> tuple[int, bytes, int] | None:
    if offset + _HEAD.size > len(data):
        return None
    length, kind = _HEAD.unpack_from(data, offset)
    end = offset + _HEAD.size + length
    if length > MAX_BODY or end + _SUM.size > len(data):
        return None
    checksum = zlib.crc32(data[offset:end], checksum)
    if _SUM.unpack_from(data, end)[0] != checksum:
        return None
    return kind, data[offset + _HEAD.size : end], checksum


def _take(contents: Contents, kind: int, body: bytes) -> bool:
    """Add one record to `contents`; tells whether that was possible."""
    entries = contents.entries
    if kind == ENTRY and len(body) > _NUMBERS.size:
        index, term = _NUMBERS.unpack_from(body)
        if entries and (index != entries[-1][1] + 1 or term < entries[-1][2]):
            return False
        entries.append((body[_NUMBERS.size :], index, term))
    elif kind == CUT and len(body) == _NUMBER.size:
        (first,) = _NUMBER.unpack(body)
        if entries:
            del entries[max(0, first - entries[0][1]) :]
    elif kind == VOTE and len(body) >= _NUMBER.size:
        (contents.term,) = _NUMBER.unpack_from(body)
        contents.vote = body[_NUMBER.size :].decode("ascii", "replace") or None
    elif kind == COMMIT and len(body) == _NUMBER.size:
        (contents.commit,) = _NUMBER.unpack(body)
    else:
        return False
    return True


def _damaged(where: str, why: str) -> ClusterError:
    return ClusterError(
        f"{where}: the Raft journal is damaged: {why}",
        hint="this node must not vote with it: let another voter take its place, or see node-agent recover",
    )
