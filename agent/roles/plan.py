# SPDX-License-Identifier: Apache-2.0
"""What to do next for one role. Pure.

Units start in the order of role.yaml, each when the one before it is active, and stop in the reverse order.
A lease that ends stops its units whatever else is going on, and kills them when they take longer than
KILL_AFTER: its next holder starts soon after (agent/election/leases.py). A role that is held in another epoch
than it was started in stops first: between the two somebody else may have had it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

KILL_AFTER = 1.0
"""Seconds from the end of a lease until units are killed. The margins of a lease are 1.75 s by default."""
BACKOFF = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)
"""Seconds before units that failed are started again; the last for good."""
SETTLED = 120.0
"""Seconds of running after which earlier failures are forgotten."""


class Unit(Enum):
    """A unit's ActiveState, as far as it matters here."""

    ACTIVE = "active"
    STARTING = "activating"
    STOPPING = "deactivating"
    INACTIVE = "inactive"
    FAILED = "failed"


@dataclass(frozen=True)
class Wanted:
    """The role is this node's: in this epoch, and until when."""

    epoch: int
    until: float | None
    waits_for: str = ""  # what is missing before it may start


@dataclass(frozen=True)
class Running:
    """What is remembered of a role that was started."""

    epoch: int
    until: float | None  # as the last order had it
    since: float = 0.0  # when all units were active
    failures: int = 0
    again: float = 0.0  # not to be started before


@dataclass(frozen=True)
class Start:
    """Start a unit; `first`: nothing of the role runs yet, so its files are written before."""

    unit: str
    first: bool


@dataclass(frozen=True)
class Stop:
    """Stop a unit."""

    unit: str


@dataclass(frozen=True)
class Kill:
    """Kill a unit that does not stop."""

    unit: str


@dataclass(frozen=True)
class Wait:
    """Nothing now. `state` and `reason` as in agent/roles/order.py."""

    state: Literal["starting", "stopping", "waiting", "failed"]
    reason: str = ""


@dataclass(frozen=True)
class Rest:
    """All units run."""


@dataclass(frozen=True)
class Gone:
    """No unit runs, and none should."""


Step = Start | Stop | Kill | Wait | Rest | Gone


def decide(
    units: Sequence[str], seen: Mapping[str, Unit], wanted: Wanted | None, running: Running | None, now: float
) -> Step:
    """Return the next step. `now`, and the times in the records, are of one clock, in seconds."""
    active = [unit for unit in units if seen[unit] is not Unit.INACTIVE and seen[unit] is not Unit.FAILED]
    keep = (
        wanted is not None
        and (wanted.until is None or now < wanted.until)
        # In which epoch units began that nobody remembers to have started, nobody knows.
        and (running.epoch == wanted.epoch if running is not None else wanted.until is None or not active)
    )
    if not keep:
        return _stop(units, seen, running, now)
    assert wanted is not None
    for unit in units:
        if seen[unit] is Unit.ACTIVE:
            continue
        if seen[unit] is Unit.STARTING:
            return Wait("starting", f"{unit} starts")
        if seen[unit] is Unit.STOPPING:
            return Wait("stopping", f"{unit} stops")
        if not active and wanted.waits_for:
            return Wait("waiting", wanted.waits_for)
        if running is not None and now < running.again:
            return Wait("failed", f"{unit} is {seen[unit].value}; it is started again in a while")
        return Start(unit, first=not active)
    return Rest()


def _stop(units: Sequence[str], seen: Mapping[str, Unit], running: Running | None, now: float) -> Step:
    over = running.until if running is not None else None
    for unit in reversed(units):
        if seen[unit] in (Unit.INACTIVE, Unit.FAILED):
            continue
        if over is not None and now >= over + KILL_AFTER:
            return Kill(unit)
        if seen[unit] is Unit.STOPPING:
            return Wait("stopping", f"{unit} stops")
        return Stop(unit)
    return Gone()


def note_failure(running: Running, now: float) -> Running:
    """Return what to remember when a unit that should run does not."""
    failures = 0 if running.since and now - running.since > SETTLED else running.failures
    pause = BACKOFF[min(failures, len(BACKOFF) - 1)]
    return Running(running.epoch, running.until, 0.0, failures + 1, now + pause)
