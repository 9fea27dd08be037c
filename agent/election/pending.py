# SPDX-License-Identifier: Apache-2.0
"""Commands on their way into the log, until it is clear what became of each. Pure.

A command that was never given to a leader, or that Raft says is not and will not be in the log, is given
again while there is time. One whose fate nobody tells is not: it may be committed still. So each command
must be one that changes nothing the second time, or that names the state it expects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Outcome(Enum):
    """What became of a command."""

    COMMITTED = "committed"  # it is in the log, and applied here; what the state machine said comes with it
    REFUSED = "refused"  # it is not in the log, and will not be
    UNKNOWN = "unknown"  # it may be in the log, or get there still: look at the state, try again


Done = Callable[[Outcome, Any], None]


@dataclass(eq=False)
class Commit:
    """One command: `deadline` in monotonic seconds."""

    data: bytes
    done: Done
    deadline: float
    given: bool = False


class Commits:
    """The commands that wait for a leader, and those that one has."""

    def __init__(self) -> None:
        self._open: list[Commit] = []

    def add(self, commit: Commit) -> None:
        self._open.append(commit)

    def to_give(self, now: float) -> list[Commit]:
        """Return the commands that a leader should get now; ends those whose time is over."""
        for commit in [commit for commit in self._open if now >= commit.deadline]:
            self.end(commit, Outcome.UNKNOWN if commit.given else Outcome.REFUSED, None)
        return [commit for commit in self._open if not commit.given]

    def end(self, commit: Commit, outcome: Outcome, result: object) -> None:
        """Tell the fate of a command, once."""
        if commit in self._open:
            self._open.remove(commit)
            commit.done(outcome, result)

    def end_all(self) -> None:
        for commit in list(self._open):
            self.end(commit, Outcome.UNKNOWN if commit.given else Outcome.REFUSED, None)
