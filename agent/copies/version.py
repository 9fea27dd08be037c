# SPDX-License-Identifier: Apache-2.0
"""Which copy of a role's state is the newest. Pure.

Every copy has the epoch of the lease under which it was made and a number that grows with each change. A new
holder asks the voters for what they have, and by asking makes them refuse what an earlier epoch still sends.
It goes on when a majority has answered: whatever a majority had taken is then among the answers, or on its
own disk, if the last holder was the same machine.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from agent.status.schema import Range

Number = Annotated[int, Range(0, (1 << 62) - 1)]


@dataclass(frozen=True, order=True)
class Version:
    """Of a copy. Epoch 0: there is none."""

    epoch: Number
    number: Number


NONE = Version(0, 0)


@dataclass(frozen=True)
class Answer:
    """What one voter has."""

    host: str
    version: Version


@dataclass(frozen=True)
class Choice:
    """Where the state comes from: a voter's `host`, or None for what this machine's own disk has."""

    host: str | None
    version: Version


def choose(own: int, answers: Iterable[Answer], voters: int) -> Choice | None:
    """Return the state to go on with; None as long as too few of the `voters` have answered.

    `own` is the epoch under which this machine last had the state live, 0 for never. Its own disk is the
    newest when nobody had a later epoch: every change is there first.
    """
    found = sorted(answers, key=lambda answer: answer.version)
    if len(found) <= voters // 2:
        return None
    newest = found[-1]
    if own >= newest.version.epoch:
        return Choice(None, newest.version)
    return Choice(newest.host, newest.version)
