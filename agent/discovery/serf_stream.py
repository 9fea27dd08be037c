# SPDX-License-Identifier: Apache-2.0
"""Cut what Serf sends over its RPC into records. Sans I/O: bytes in, records out.

Serf sends concatenated msgpack maps: a header `{"Seq", "Error"}`, and after it, for some commands, a body.
Which headers have one follows from the command; after an error some commands send a body all the same
(`join` does, `tags` does not). As no body has the two keys of a header, and no other, a body is told from a
header by its keys, and one that nobody waits for is dropped.

Source: Serf 0.10.1, cmd/serf/command/agent/ipc.go, and what it was seen to send.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

import msgpack

# An answer with 5000 members that use all of their 512 bytes for tags has some 4 MB.
MAX_BUFFER_BYTES = 16 << 20
_MAX_ITEMS = 1 << 16
_HEADER = {b"Seq", b"Error"}


class StreamError(ValueError):
    """The bytes are not what Serf sends; the stream cannot be read further."""


class Shape(Enum):
    """What follows a request."""

    HEADER = "header"  # one header
    BODY = "body"  # one header with a body, unless it is an error
    STREAM = "stream"  # one header, then headers with a body until `forget`


class Record(NamedTuple):
    seq: int
    error: str  # empty: none
    body: Mapping[bytes, object] | None


class StreamParser:
    """The parser of one connection. `expect` goes before the request is sent."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(
            raw=True,  # text from other machines need not be UTF-8, and must not end the stream
            max_buffer_size=MAX_BUFFER_BYTES,
            max_array_len=_MAX_ITEMS,
            max_map_len=_MAX_ITEMS,
            max_ext_len=0,
        )
        self._shapes: dict[int, Shape] = {}
        self._streaming: set[int] = set()
        self._body_of: int | None = None
        self._may_drop = False

    @property
    def open_streams(self) -> int:
        return len(self._streaming)

    def expect(self, seq: int, shape: Shape) -> None:
        self._shapes[seq] = shape

    def forget(self, seq: int) -> None:
        """Drop what still comes for `seq`."""
        self._shapes.pop(seq, None)
        self._streaming.discard(seq)

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that are complete with `data`; raises StreamError."""
        records = []
        try:
            self._unpacker.feed(data)
            for item in self._unpacker:
                if not isinstance(item, dict):
                    raise StreamError("a record is not a map")
                if record := self._header(item) if item.keys() == _HEADER else self._body(item):
                    records.append(record)
        except StreamError:
            raise
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise StreamError(f"no msgpack: {error or type(error).__name__}") from None
        return records

    def _header(self, item: Mapping[bytes, object]) -> Record | None:
        if self._body_of is not None:
            raise StreamError("a header came in place of a body")
        seq, error = item[b"Seq"], item[b"Error"]
        if not isinstance(seq, int) or isinstance(seq, bool) or not isinstance(error, bytes):
            raise StreamError("a header has other types")
        # `Error` of Go can have several lines.
        reason = " ".join(error.decode(errors="replace").split())[:400]
        shape = self._shapes.get(seq)
        self._may_drop = bool(reason) or shape is None
        if shape is None:
            return None
        if reason:
            self.forget(seq)
            return Record(seq, reason, None)
        if shape is Shape.BODY or seq in self._streaming:
            self._body_of = seq
            return None
        if shape is Shape.STREAM:
            self._streaming.add(seq)
        else:
            self.forget(seq)
        return Record(seq, "", None)

    def _body(self, item: Mapping[bytes, object]) -> Record | None:
        seq, self._body_of = self._body_of, None
        if seq is not None:
            if seq not in self._streaming:
                self.forget(seq)
            return Record(seq, "", item)
        if not self._may_drop:
            raise StreamError("a body came without a header")
        self._may_drop = False
        return None
