# SPDX-License-Identifier: Apache-2.0
"""What a holder and a keeper of copies say to each other. Pure; version 1.

Each message is a line of JSON with its kind under `do`; the content of a file follows its `put` as bytes.

    holder              keeper
    fence EPOCH         held VERSION           what is of an earlier epoch is refused from now on
    fetch               put ..., end           the whole copy
    put, drop, commit   stored                 the changes since the version BASE, or, without a base, all

Before that, both prove that they know the role's secret (agent/copies/proof.py).
"""

import json
from dataclasses import dataclass
from typing import Annotated

from agent.copies.version import Number, Version
from agent.errors import ClusterError
from agent.status import schema
from agent.status.schema import Range, Text

MAX_LINE = 4096  # bytes
MAX_FILE = 1 << 30
NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,4}"
"""A path within the state: no name begins with a dot, so none leads out of it."""
Name = Annotated[str, Text(NAME)]


@dataclass(frozen=True)
class Fence:
    """Take nothing any more from an epoch before this one, and say what there is."""

    epoch: Number


@dataclass(frozen=True)
class Held:
    """The version that the keeper has. `fenced`: the latest epoch of which it knows."""

    version: Version
    fenced: Number


@dataclass(frozen=True)
class Fetch:
    """Send the copy."""


@dataclass(frozen=True)
class Put:
    """A file, whose content follows."""

    name: Name
    mode: Annotated[int, Range(0, 0o777)]
    bytes: Annotated[int, Range(0, MAX_FILE)]


@dataclass(frozen=True)
class Drop:
    """A file that is not there any more."""

    name: Name


@dataclass(frozen=True)
class Commit:
    """What was put and dropped since the last commit is this version. Without a base it is all there is."""

    version: Version
    base: Version | None


@dataclass(frozen=True)
class Stored:
    """Whether it was taken. `held`: the version that the keeper has now."""

    taken: bool
    held: Version


@dataclass(frozen=True)
class End:
    """The copy is complete."""

    version: Version


Message = Fence | Held | Fetch | Put | Drop | Commit | Stored | End
_KINDS: dict[str, type[Message]] = {
    kind.__name__.lower(): kind for kind in (Fence, Held, Fetch, Put, Drop, Commit, Stored, End)
}


def encode(message: Message) -> bytes:
    """Return the line."""
    document = {"do": type(message).__name__.lower(), **schema.encode(message)}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message in a line, checked; ClusterError for anything else."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    kind = document.pop("do", None) if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ClusterError("this is no message about copies")
    return schema.decode(_KINDS[kind], document, kind)
