# SPDX-License-Identifier: Apache-2.0
"""What the supervisor does next for one role, by itself and as a property of any course of events."""

from hypothesis import given
from hypothesis import strategies as st

from agent.roles.plan import (
    BACKOFF,
    KILL_AFTER,
    SETTLED,
    Gone,
    Kill,
    Rest,
    Running,
    Start,
    Stop,
    Unit,
    Wait,
    Wanted,
    decide,
    note_failure,
)

UNITS = ("one.service", "two.service")
WANTED = Wanted(1, 100.0)
STARTED = Running(1, 100.0)


def seen(one: Unit, two: Unit) -> dict[str, Unit]:
    return {"one.service": one, "two.service": two}


def test_units_start_in_order_and_each_waits_for_the_one_before() -> None:
    nothing = seen(Unit.INACTIVE, Unit.INACTIVE)
    assert decide(UNITS, nothing, WANTED, None, 0) == Start("one.service", first=True)
    assert isinstance(decide(UNITS, seen(Unit.STARTING, Unit.INACTIVE), WANTED, STARTED, 0), Wait)
    half = seen(Unit.ACTIVE, Unit.INACTIVE)
    assert decide(UNITS, half, WANTED, STARTED, 0) == Start("two.service", first=False)
    assert decide(UNITS, seen(Unit.ACTIVE, Unit.ACTIVE), WANTED, STARTED, 0) == Rest()


def test_units_stop_in_the_reverse_order() -> None:
    both = seen(Unit.ACTIVE, Unit.ACTIVE)
    assert decide(UNITS, both, None, STARTED, 0) == Stop("two.service")
    assert isinstance(decide(UNITS, seen(Unit.ACTIVE, Unit.STOPPING), None, STARTED, 0), Wait)
    assert decide(UNITS, seen(Unit.ACTIVE, Unit.INACTIVE), None, STARTED, 0) == Stop("one.service")
    assert decide(UNITS, seen(Unit.FAILED, Unit.INACTIVE), None, STARTED, 0) == Gone()


def test_a_lease_that_ends_stops_them_without_an_order_and_kills_what_lingers() -> None:
    both = seen(Unit.ACTIVE, Unit.ACTIVE)
    assert decide(UNITS, both, WANTED, STARTED, 99.9) == Rest()
    assert decide(UNITS, both, WANTED, STARTED, 100.0) == Stop("two.service")
    lingering = seen(Unit.ACTIVE, Unit.STOPPING)
    assert isinstance(decide(UNITS, lingering, WANTED, STARTED, 100.5), Wait)
    assert decide(UNITS, lingering, WANTED, STARTED, 100.0 + KILL_AFTER) == Kill("two.service")


def test_another_epoch_stops_first() -> None:
    both = seen(Unit.ACTIVE, Unit.ACTIVE)
    assert decide(UNITS, both, Wanted(2, 200.0), STARTED, 50) == Stop("two.service")
    nothing = seen(Unit.INACTIVE, Unit.INACTIVE)
    assert decide(UNITS, nothing, Wanted(2, 200.0), STARTED, 50) == Gone()
    assert decide(UNITS, nothing, Wanted(2, 200.0), None, 50) == Start("one.service", first=True)
    # So does what nobody remembers to have started under a lease.
    assert decide(UNITS, both, Wanted(2, 200.0), None, 50) == Stop("two.service")
    assert decide(UNITS, both, Wanted(0, None), None, 50) == Rest()


def test_what_is_needed_is_waited_for_before_the_start_only() -> None:
    wanted = Wanted(0, None, "slurm-controller has no holder")
    nothing = seen(Unit.INACTIVE, Unit.INACTIVE)
    assert decide(UNITS, nothing, wanted, None, 0) == Wait("waiting", "slurm-controller has no holder")
    both = seen(Unit.ACTIVE, Unit.ACTIVE)
    assert decide(UNITS, both, wanted, Running(0, None), 0) == Rest()


def test_what_fails_is_started_again_later_and_later() -> None:
    running, now = STARTED, 0.0
    for pause in (*BACKOFF, BACKOFF[-1]):
        running = note_failure(running, now)
        assert running.again == now + pause
        failed = seen(Unit.FAILED, Unit.INACTIVE)
        assert isinstance(decide(UNITS, failed, Wanted(1, None), running, now), Wait)
        now = running.again
        assert decide(UNITS, failed, Wanted(1, None), running, now) == Start("one.service", first=True)
    well = Running(1, None, since=now, failures=9)
    assert note_failure(well, now + SETTLED + 1).failures == 1


STATES = st.sampled_from(Unit)
TIMES = st.floats(0, 200)
WANTS = st.none() | st.builds(Wanted, st.integers(1, 3), st.none() | TIMES, st.sampled_from(["", "x"]))
RUNS = st.none() | st.builds(Running, st.integers(1, 3), st.none() | TIMES, TIMES, st.integers(0, 9), TIMES)


@given(STATES, STATES, WANTS, RUNS, TIMES)
def test_nothing_starts_without_a_lease_that_holds(
    one: Unit, two: Unit, wanted: Wanted | None, running: Running | None, now: float
) -> None:
    step = decide(UNITS, seen(one, two), wanted, running, now)
    if isinstance(step, Start | Rest):
        assert wanted is not None
        assert wanted.until is None or now < wanted.until
        assert running is None or running.epoch == wanted.epoch
    if isinstance(step, Gone):
        assert not {one, two} & {Unit.ACTIVE, Unit.STARTING, Unit.STOPPING}
