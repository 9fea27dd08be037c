# SPDX-License-Identifier: Apache-2.0
"""What Raft replicates, as the caller brings it, and what it hands back. Records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

S = TypeVar("S")


@dataclass(frozen=True)
class Machine(Generic[S]):
    """A state machine. `reduce` is pure and total: a bad command gives the state as it was."""

    reduce: Callable[[S, bytes], tuple[S, Any]]
    encode: Callable[[S], bytes]
    decode: Callable[[bytes], S]  # ClusterError: these bytes are no state
    names: Callable[[S], Mapping[str, str]]  # mesh IPv4 address -> node ID


@dataclass(frozen=True)
class Applied(Generic[S]):
    """A state, and the monotonic time since when this node has had it."""

    state: S
    at: float


@dataclass(frozen=True)
class View:
    """Where Raft stands at one moment, with addresses of voters (host:port)."""

    role: str = "off"
    leader: str | None = None
    leader_since: float | None = None  # monotonic; None: another node leads, or none
    voters: frozenset[str] = frozenset()
    connected: frozenset[str] = frozenset()
    ready: bool = False
