# SPDX-License-Identifier: Apache-2.0
"""Read a body of agent/wire.py that came from elsewhere: each field in its bounds, and no other one. Pure."""

from typing import Any, TypeVar

from agent.errors import ClusterError
from agent.node_ids import node_id_of

T = TypeVar("T")
Bytes = bytes  # `Fields` has a method of that name


class Fields:
    """Reads a body field by field; every method raises ClusterError that names `where` and the field.

    Each field must be there; one that may be missing is nil, which `nil` asks for first. `done` refuses what
    was not read. Bounds are inclusive.
    """

    def __init__(self, body: dict[str, Any], where: str) -> None:
        self._body = body
        self._where = where
        self._read: set[str] = set()

    def has(self, name: str) -> bool:
        """Tell whether the field is there, for one that older writers left out."""
        return name in self._body

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
            return node_id_of(value)
        except ClusterError:
            raise self._bad(name, "is not the public key of a node") from None

    def _bad(self, name: str, why: str) -> ClusterError:
        return ClusterError(f"{self._where}: field {name!r} {why}")
