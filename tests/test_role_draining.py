# SPDX-License-Identifier: Apache-2.0
"""What a role does before its units stop: its drain command, and what that has started."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.facts import read_facts
from agent.roles.draining import Draining
from agent.roles.role import Drain, Kind, Placement, Role
from agent.roles.supervisor import Supervisor
from agent.tree import Tree
from harness.waiting import wait_for
from tests.recorded_roles import EVERY, WORKER, Recorder, order, record, settle


def test_a_drain_that_takes_too_long_ends_with_all_that_it_has_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    draining = Draining()
    drain = Drain(("/bin/sh", "-c", f"sleep 60 & echo $! >{child}.new; mv {child}.new {child}; wait"), 5)
    assert not draining.look("worker", drain, 10.0)
    wait_for("the command's own child", child.exists, 10.0)
    assert not draining.look("worker", drain, 14.9)
    assert draining.look("worker", drain, 15.0)
    process = Path(f"/proc/{int(child.read_text())}/stat")

    def ended() -> bool:
        # Nobody may take up its status here: a zombie has ended, too.
        try:
            return process.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    wait_for("the child to end", ended, 10.0)


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return record(monkeypatch)


def drained(tmp_path: Path, script: str, limit: int = 60) -> Supervisor:
    """A supervisor of one role, which drains by a shell script."""
    drain = Drain(("/bin/sh", "-c", script), limit)
    role = Role("worker", tmp_path, Kind.EVERY, "", Placement(), (), (), (), (WORKER,), None, drain=drain)
    supervisor = Supervisor({"worker": role}, read_facts(Tree()), tmp_path)
    supervisor.take(order(EVERY))
    settle(supervisor, 10.0)
    supervisor.take(order())
    return supervisor


def state_of(supervisor: Supervisor, now: float) -> str:
    supervisor.tick(now)
    return " ".join(f"{each.state} {each.reason}" for each in supervisor.take(order()).roles)


def test_a_role_gives_up_its_work_before_its_units_stop(units: Recorder, tmp_path: Path) -> None:
    supervisor = drained(tmp_path, f"while [ ! -e {tmp_path}/idle ]; do sleep 0.01; done")
    assert state_of(supervisor, 11.0) == "stopping gives up its work"
    assert state_of(supervisor, 69.0) == "stopping gives up its work"
    assert units.calls == [("start", WORKER)]
    (tmp_path / "idle").touch()
    wait_for("the role to be gone", lambda: not state_of(supervisor, 69.5), 10.0)
    assert units.calls == [("start", WORKER), ("stop", WORKER)]


@pytest.mark.parametrize(("script", "now"), [("sleep 60", 72.0), ("exit 3", 12.0), ("exec /nowhere", 12.0)])
def test_a_drain_that_takes_too_long_or_fails_holds_nothing_up(
    units: Recorder, tmp_path: Path, script: str, now: float
) -> None:
    supervisor = drained(tmp_path, script)
    state_of(supervisor, 11.0)
    wait_for("the role to be gone", lambda: not state_of(supervisor, now), 10.0)
    assert units.calls[-1] == ("stop", WORKER)


def test_a_role_that_is_wanted_again_while_it_drains_begins_anew(units: Recorder, tmp_path: Path) -> None:
    supervisor = drained(tmp_path, "sleep 60")
    state_of(supervisor, 11.0)
    supervisor.take(order(EVERY))
    settle(supervisor, 12.0)
    assert units.calls == [("start", WORKER), ("restart", WORKER)]
    supervisor.take(order())
    assert state_of(supervisor, 100.0) == "stopping gives up its work"


def test_who_was_removed_stops_at_once(units: Recorder, tmp_path: Path) -> None:
    supervisor = drained(tmp_path, "sleep 60")
    supervisor.take(replace(order(), me=None))
    settle(supervisor, 11.0)
    assert units.calls == [("start", WORKER), ("stop", WORKER)]
