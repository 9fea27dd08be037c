# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses to plain JSON types, and back with every value checked. Pure.

The type hints are the schema: str, int, float, bool, `X | None`, Literal, enumerations (by their names in
lower case), `tuple[X, ...]`, `Mapping[str, X]`, dataclasses, and Annotated with a `Text` or a `Range`.

A document that is encoded here always decodes: what no hint forbids but a terminal must not see (control
characters, in a message that came from elsewhere) is replaced when it is encoded, and refused when decoded.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from agent.errors import ClusterError

MAX_TEXT = 4096  # characters
MAX_ITEMS = 20_000
_LARGEST = 1 << 63
_Record = TypeVar("_Record")


class Text(NamedTuple):
    """A rule for strings: the regular expression that all of it matches."""

    pattern: str


class Range(NamedTuple):
    """A rule for whole numbers; both ends are allowed."""

    low: int
    high: int


def encode(value: object) -> Any:  # noqa: ANN401  JSON
    """Return a dataclass, or a part of one, in plain JSON types."""
    if isinstance(value, str):
        return value if value.isprintable() and len(value) <= MAX_TEXT else _clean(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, Mapping):
        return {encode(str(key)): encode(item) for key, item in value.items()}
    if is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    raise TypeError(f"no form in a document for {type(value).__name__}")


def decode(kind: type[_Record], data: object, where: str) -> _Record:
    """Return the dataclass `kind` that `data`, parsed JSON, holds.

    Raises ClusterError, with the place below `where`, for whatever is not exactly what the hints say.
    """
    return _decode(kind, data, where)  # type: ignore[no-any-return]


def _decode(kind: Any, data: object, where: str) -> Any:  # noqa: ANN401  any type hint, any value of it
    origin, arguments = _parts(kind)
    if origin is Annotated:
        value = _decode(arguments[0], data, where)
        _check(arguments[1], value, where)
        return value
    if origin is UnionType:
        return None if data is None else _decode(arguments[0], data, where)
    if origin is Literal:
        # A string and only a string: `in` would take 1 for True, and fail on a list.
        if isinstance(data, str) and data in arguments:
            return data
        raise _wrong(where, f"must be one of {', '.join(arguments)}")
    if origin is tuple:
        if not isinstance(data, list) or len(data) > MAX_ITEMS:
            raise _wrong(where, f"must be a list of at most {MAX_ITEMS}")
        return tuple(_decode(arguments[0], item, f"{where}[{n}]") for n, item in enumerate(data))
    if origin is Mapping:
        return _mapping(arguments[1], data, where)
    if kind is float:
        return _float(data, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        names = {member.name.lower(): member for member in kind}
        if isinstance(data, str) and data in names:
            return names[data]
        raise _wrong(where, f"must be one of {', '.join(names)}")
    if is_dataclass(kind):
        return _record(kind, data, where)
    if type(data) is not kind:
        raise _wrong(where, f"must be of type {kind.__name__}")
    if kind is str and (len(data) > MAX_TEXT or not data.isprintable()):  # type: ignore[arg-type, attr-defined]
        raise _wrong(where, f"must be at most {MAX_TEXT} characters that can be printed")
    if kind is int and not -_LARGEST <= data < _LARGEST:  # type: ignore[operator]
        raise _wrong(where, "is out of range")
    return data


def _record(kind: Any, data: object, where: str) -> Any:  # noqa: ANN401
    hints = _hints(kind)
    if not isinstance(data, dict) or data.keys() != hints.keys():
        wrong = sorted(str(key)[:40] for key in data.keys() ^ hints.keys()) if isinstance(data, dict) else ()
        found = f"missing or unknown keys: {', '.join(wrong[:10])}" if wrong else "must be an object"
        raise _wrong(where, found)
    return kind(**{name: _decode(hint, data[name], f"{where}.{name}") for name, hint in hints.items()})


def _mapping(kind: object, data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, dict) or len(data) > MAX_ITEMS:
        raise _wrong(where, f"must be an object of at most {MAX_ITEMS} keys")
    return {_decode(str, key, where): _decode(kind, item, f"{where}.{key}") for key, item in data.items()}


def _float(data: object, where: str) -> float:
    if type(data) not in (int, float) or not -_LARGEST <= data < _LARGEST:  # type: ignore[operator]
        raise _wrong(where, "must be a number")
    return float(data)  # type: ignore[arg-type]


def _check(rule: object, value: object, where: str) -> None:
    if isinstance(rule, Text) and isinstance(value, str) and not re.fullmatch(rule.pattern, value):
        raise _wrong(where, "has not the form that is expected")
    if isinstance(rule, Range) and isinstance(value, int) and not rule.low <= value <= rule.high:
        raise _wrong(where, f"must be from {rule.low} to {rule.high}")


@lru_cache(maxsize=256)
def _parts(kind: object) -> tuple[object, tuple[Any, ...]]:
    """Return the outer type of a hint and its arguments, those of `X | None` with X first."""
    if get_origin(kind) is Annotated:
        return Annotated, (kind.__origin__, *kind.__metadata__)  # type: ignore[attr-defined]
    origin, arguments = get_origin(kind), get_args(kind)
    # Annotated[X, rule] | None is a typing.Union, int | None a UnionType.
    if NoneType in arguments:
        return UnionType, tuple(item for item in arguments if item is not NoneType)
    return origin, arguments


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:MAX_TEXT])


def _wrong(where: str, what: str) -> ClusterError:
    # Both may quote a key of a document that came from elsewhere.
    message = _clean(f"{where[:200]}: {what}")
    return ClusterError(
        message, hint="it was not written by the agent of this image: restart clusteros-agent"
    )
