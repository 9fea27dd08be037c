# SPDX-License-Identifier: Apache-2.0
"""What nodes say to each other: canonical msgpack, and signed envelopes around it. Pure.

A body is a map with text keys; values are nil, booleans, integers of 64 bits (signed), text, bytes, lists
and such maps. No floats, no extension types, at most MAX_DEPTH levels. It has exactly one encoding, so that
a hash or a signature over the bytes is one over the meaning: keys sorted by code point, the shortest form of
everything (https://github.com/msgpack/msgpack/blob/master/spec.md). Any other encoding of it is refused.

An envelope is the sender's Ed25519 public key (32 bytes), its signature (64 bytes, agent/signature.py) and
the body. The context that is signed, `cluster/...`, is known to both sides and not sent: it tells the
purpose, so that a message of one protocol is none in another. An envelope says who signed it, not when, nor
to whom: what must be fresh or addressed says so in the body.

`Fields` reads a body that came from elsewhere: each field with its type and bounds, and nothing beside them.
"""

import hashlib
from typing import Any, TypeVar

import msgpack

from agent.errors import ClusterError
from agent.identity import identity_of_node_id, identity_of_public_key
from agent.signature import Signature, sign, verify

MAX_DEPTH = 8
MAX_BLOB = 64 << 10  # bytes of an envelope or a body that is fetched in parts
MAX_QUERY = 1200  # bytes of an envelope that travels as one Serf query or answer
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
OVERHEAD = PUBLIC_KEY_BYTES + SIGNATURE_BYTES

T = TypeVar("T")
Bytes = bytes  # `Fields` has a method of that name


def pack(body: dict[str, Any]) -> bytes:
    """Return the encoding of `body`; tuples count as lists. ClusterError when it holds what no body may."""
    if not isinstance(body, dict):
        raise ClusterError("a message must be a map")
    data: bytes = msgpack.packb(_sorted(body, 1), use_bin_type=True)
    return data


def unpack(data: bytes, limit: int = MAX_BLOB) -> dict[str, Any]:
    """Return the body that `data` (at most `limit` bytes) encodes; ClusterError unless it is canonical."""
    if len(data) > limit:
        raise ClusterError(f"a message of {len(data)} bytes is longer than {limit}")
    try:
        body = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException):
        raise ClusterError("a message is not msgpack") from None
    if not isinstance(body, dict):
        raise ClusterError("a message must be a map")
    # Also finds doubled keys, as the second one is gone from the map.
    if pack(body) != data:
        raise ClusterError("a message is not in the canonical encoding")
    return body


def seal(seed: bytes, context: str, body: dict[str, Any]) -> bytes:
    """Return the envelope of `body`, signed for `context` by the node key of `seed` (32 bytes)."""
    message = pack(body)
    signature = sign(seed, context, message)
    return identity_of_node_id(signature.node_id).public_key + signature.signature + message


def open(data: bytes, context: str, limit: int = MAX_BLOB) -> tuple[str, dict[str, Any]]:
    """Return the node ID of who signed the envelope `data` for the purpose `context`, and its body.

    Raises ClusterError when it is longer than `limit` bytes, badly signed, or holds no canonical body.
    """
    if not OVERHEAD <= len(data) <= limit:
        raise ClusterError(f"an envelope has {OVERHEAD} to {limit} bytes, not {len(data)}")
    node_id = identity_of_public_key(data[:PUBLIC_KEY_BYTES]).node_id
    message = data[OVERHEAD:]
    verify(Signature(node_id, context, data[PUBLIC_KEY_BYTES:OVERHEAD]), context, message)
    return node_id, unpack(message, limit)


def digest(context: str, data: bytes) -> bytes:
    """Return the SHA-256 of `data` for the purpose `context` (without NUL): 32 bytes."""
    return hashlib.sha256(context.encode() + b"\0" + data).digest()


def _sorted(value: object, depth: int) -> object:
    """Return `value` with the keys of its maps sorted; ClusterError unless all of it may be in a body."""
    if depth > MAX_DEPTH and isinstance(value, (dict, list, tuple)):
        raise ClusterError(f"a message is nested deeper than {MAX_DEPTH} levels")
    # Not what is derived of them: msgpack's extension type is a tuple too.
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return [_sorted(item, depth + 1) for item in value]
    if isinstance(value, dict):
        if not all(type(key) is str and _encodable(key) for key in value):
            raise ClusterError("a message has a key that is not text")
        return {key: _sorted(value[key], depth + 1) for key in sorted(value)}
    if type(value) not in (type(None), bool, int, str, bytes):
        raise ClusterError(f"a message holds a value of the kind {type(value).__name__}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ClusterError("a message holds an integer of more than 64 bits")
    if isinstance(value, str) and not _encodable(value):
        raise ClusterError("a message holds text that is not Unicode")
    return value


def _encodable(text: str) -> bool:
    # Lone surrogates have no UTF-8.
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


class Fields:
    """Reads a body field by field; every method raises ClusterError that names `where` and the field.

    Each field must be there; one that may be missing is nil, which `nil` asks for first. `done` refuses what
    was not read. Bounds are inclusive.
    """

    def __init__(self, body: dict[str, Any], where: str) -> None:
        self._body = body
        self._where = where
        self._read: set[str] = set()

    def nil(self, name: str) -> bool:
        """Tell whether the field is nil, and so needs no further reading."""
        return self._take(name) is None

    def boolean(self, name: str) -> bool:
        return self._of(name, bool, "a boolean")

    def integer(self, name: str, low: int, high: int) -> int:
        value = self._of(name, int, "an integer")
        if not low <= value <= high:
            raise self._bad(name, f"must be {low} to {high}")
        return value

    def text(self, name: str, *, max: int, min: int = 1) -> str:
        """Return printable text of `min` to `max` characters: a person may see it on a terminal."""
        return self._printable(name, self._of(name, str, "text"), min, max)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self._of(name, str, "text")
        if value not in allowed:
            raise self._bad(name, f"must be one of: {', '.join(allowed)}")
        return value

    def bytes(self, name: str, *, exactly: int | None = None, max: int | None = None) -> Bytes:
        return self._sized(name, self._of(name, Bytes, "bytes"), exactly, max)

    def hexadecimal(self, name: str, *, exactly: int) -> str:
        """Return `exactly` raw bytes in hexadecimal digits, as hashes and fingerprints are held."""
        return self.bytes(name, exactly=exactly).hex()

    def node(self, name: str) -> str:
        """Return the node ID whose public key (32 raw bytes) the field holds."""
        return self._node(name, self._of(name, Bytes, "bytes"))

    def texts(self, name: str, *, most: int, max: int) -> tuple[str, ...]:
        """Return at most `most` texts of 1 to `max` characters each."""
        return tuple(
            self._printable(name, self._is(name, v, str, "texts"), 1, max) for v in self._items(name, most)
        )

    def many_bytes(
        self, name: str, *, most: int, exactly: int | None = None, max: int | None = None
    ) -> tuple[Bytes, ...]:
        return tuple(
            self._sized(name, self._is(name, value, Bytes, "bytes"), exactly, max)
            for value in self._items(name, most)
        )

    def nodes(self, name: str, *, most: int) -> tuple[str, ...]:
        """Return at most `most` node IDs, in the order sent; each is 32 raw bytes."""
        return tuple(
            self._node(name, self._is(name, value, Bytes, "bytes")) for value in self._items(name, most)
        )

    def map(self, name: str) -> "Fields":
        """Return the reader of a map inside."""
        return Fields(self._of(name, dict, "a map"), f"{self._where}: {name}")

    def maps(self, name: str, *, most: int) -> "tuple[Fields, ...]":
        return tuple(
            Fields(self._is(name, value, dict, "maps"), f"{self._where}: {name}[{index}]")
            for index, value in enumerate(self._items(name, most))
        )

    def done(self) -> None:
        """Raise ClusterError when the body holds a field that was not asked for."""
        unknown = sorted(self._body.keys() - self._read)
        if unknown:
            raise ClusterError(f"{self._where}: unknown field {unknown[0][:40]!r}")

    def _take(self, name: str) -> object:
        self._read.add(name)
        if name not in self._body:
            raise ClusterError(f"{self._where}: no field {name!r}")
        return self._body[name]

    def _of(self, name: str, kind: type[T], what: str) -> T:
        return self._is(name, self._take(name), kind, what)

    def _is(self, name: str, value: object, kind: type[T], what: str) -> T:
        # `type`, not isinstance: a boolean is no integer here.
        if not isinstance(value, kind) or type(value) is not kind:
            raise self._bad(name, f"must be {what}")
        return value

    def _items(self, name: str, most: int) -> list[object]:
        items = self._of(name, list, "a list")
        if len(items) > most:
            raise self._bad(name, f"has more than {most} entries")
        return items

    def _printable(self, name: str, value: str, min: int, max: int) -> str:
        if not min <= len(value) <= max:
            raise self._bad(name, f"must have {min} to {max} characters")
        if not value.isprintable():
            raise self._bad(name, "has characters that cannot be printed")
        return value

    def _sized(self, name: str, value: Bytes, exactly: int | None, max: int | None) -> Bytes:
        if exactly is not None and len(value) != exactly:
            raise self._bad(name, f"must have {exactly} bytes")
        if max is not None and len(value) > max:
            raise self._bad(name, f"has more than {max} bytes")
        return value

    def _node(self, name: str, value: Bytes) -> str:
        try:
            return identity_of_public_key(value).node_id
        except ClusterError:
            raise self._bad(name, "is not the public key of a node") from None

    def _bad(self, name: str, why: str) -> ClusterError:
        return ClusterError(f"{self._where}: field {name!r} {why}")
