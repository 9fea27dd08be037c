# SPDX-License-Identifier: Apache-2.0
"""The supervisor with a recorder in systemd's place: what it writes, starts and stops, and when."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.roles.order import OrderedRole, ServerGroup, ServerHost, without_times
from agent.roles.plan import KILL_AFTER, Unit
from agent.roles.role import Kind
from agent.roles.supervisor import Supervisor
from harness.waiting import wait_for
from tests.recorded_roles import EVERY, LEASE, ME, QUEUE, WORKER, Recorder, make, order, record, settle


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return record(monkeypatch)


@pytest.fixture
def supervisor(units: Recorder, tmp_path: Path) -> Supervisor:
    return make(tmp_path)


def test_a_role_that_is_ordered_is_rendered_and_started(
    supervisor: Supervisor, units: Recorder, tmp_path: Path
) -> None:
    supervisor.take(order(LEASE))
    settle(supervisor, 10.0)
    assert units.calls == [("start", QUEUE)]
    made = tmp_path / "out/queue.conf"
    assert made.read_text() == "at fd00::7 in 4\n"
    assert made.stat().st_mode & 0o777 == 0o640
    key = tmp_path / "secrets/queue.key"
    assert key.read_bytes() == b"s" * 32
    assert key.stat().st_mode & 0o777 == 0o600
    (state,) = supervisor.take(order(LEASE)).roles
    assert (state.name, state.state) == ("queue", "running")


def test_a_lease_that_is_not_renewed_ends_by_itself(supervisor: Supervisor, units: Recorder) -> None:
    supervisor.take(order(LEASE))
    settle(supervisor, 10.0)
    assert supervisor.tick(99.5) <= 0.5
    assert units.calls == [("start", QUEUE)]
    units.linger = True
    settle(supervisor, 100.0)
    assert units.calls == [("start", QUEUE), ("stop", QUEUE)]
    settle(supervisor, 100.0 + KILL_AFTER)
    assert units.calls[-1] == ("kill", QUEUE)


def test_a_supervisor_that_is_started_anew_still_ends_it(
    supervisor: Supervisor, units: Recorder, tmp_path: Path
) -> None:
    supervisor.take(order(LEASE))
    settle(supervisor, 10.0)
    again = make(tmp_path)
    settle(again, 50.0)
    assert units.calls == [("start", QUEUE)]
    settle(again, 100.0)
    assert units.calls == [("start", QUEUE), ("stop", QUEUE)]


def test_a_new_epoch_stops_before_it_starts(supervisor: Supervisor, units: Recorder) -> None:
    supervisor.take(order(LEASE))
    settle(supervisor, 10.0)
    supervisor.take(order(replace(LEASE, epoch=6, until=200.0)))
    settle(supervisor, 50.0)
    assert units.calls == [("start", QUEUE), ("stop", QUEUE), ("start", QUEUE)]


def test_a_role_waits_for_holder_and_secret_and_says_so(supervisor: Supervisor, units: Recorder) -> None:
    supervisor.take(order(EVERY, held=False, secret=b""))
    settle(supervisor, 10.0)
    (state,) = supervisor.take(order(EVERY)).roles
    assert state.state == "waiting"
    assert state.reason == "queue has no holder, the secret queue/key is not there yet"
    settle(supervisor, 11.0)
    assert units.calls == [("start", WORKER)]


def test_what_changes_is_written_and_told_to_its_units(
    supervisor: Supervisor, units: Recorder, tmp_path: Path
) -> None:
    supervisor.take(order(LEASE))
    settle(supervisor, 10.0)
    supervisor.take(order(LEASE, members=2))
    settle(supervisor, 11.0)
    assert units.calls[-1] == ("reload", QUEUE)
    assert (tmp_path / "out/names").read_text() == f"{ME.hostname}\n" * 2
    supervisor.take(order(LEASE, members=2, secret=b"t" * 32))
    settle(supervisor, 12.0)
    assert units.calls[-1] == ("restart", QUEUE)
    assert len(units.calls) == 3


def test_what_is_not_ordered_any_more_stops_and_leaves_no_secret(
    supervisor: Supervisor, units: Recorder, tmp_path: Path
) -> None:
    supervisor.take(order(LEASE, EVERY))
    settle(supervisor, 10.0)
    supervisor.take(order(EVERY))
    settle(supervisor, 11.0)
    assert units.calls[-1] == ("stop", QUEUE)
    assert (tmp_path / "secrets/queue.key").exists(), "the worker still needs it"
    supervisor.take(order())
    settle(supervisor, 12.0)
    assert units.calls[-1] == ("stop", WORKER)
    assert not (tmp_path / "secrets/queue.key").exists()


def test_a_unit_that_died_is_started_again_after_a_pause(supervisor: Supervisor, units: Recorder) -> None:
    supervisor.take(order(LEASE))
    settle(supervisor, 10.0)
    units.states[QUEUE] = Unit.FAILED
    settle(supervisor, 11.0)
    (state,) = supervisor.take(order(LEASE)).roles
    assert state.state == "failed"
    assert len(units.calls) == 1
    settle(supervisor, 12.5)
    assert units.calls == [("start", QUEUE)] * 2


def test_a_unit_that_cannot_start_is_tried_again_later_and_later(
    supervisor: Supervisor, units: Recorder
) -> None:
    supervisor.take(order(replace(LEASE, until=1000.0)))
    units.fails.add(QUEUE)
    for now in range(10, 310):
        supervisor.tick(float(now))
    assert 6 <= len(units.calls) <= 12
    (state,) = supervisor.take(order(replace(LEASE, until=1000.0))).roles
    assert state.state == "failed"
    units.fails.clear()
    for now in range(310, 380):
        supervisor.tick(float(now))
    (state,) = supervisor.take(order(replace(LEASE, until=1000.0))).roles
    assert state.state == "running"


def test_a_file_that_cannot_be_written_fails_this_role_alone(
    supervisor: Supervisor, units: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("")
    supervisor.take(order(LEASE, EVERY))
    settle(supervisor, 10.0)
    states = {each.name: each for each in supervisor.take(order(LEASE, EVERY)).roles}
    assert states["queue"].state == "failed"
    assert "cannot write" in states["queue"].reason
    assert states["worker"].state == "running"
    assert units.calls == [("start", WORKER)]


def test_a_role_that_runs_reports_what_it_counts_and_only_then(
    supervisor: Supervisor, units: Recorder
) -> None:
    supervisor.take(order(EVERY))
    settle(supervisor, 10.0)

    def figures() -> dict[str, int]:
        supervisor.tick(11.0)
        (state,) = supervisor.take(order(EVERY)).roles
        return dict(state.figures)

    wait_for("the figures", lambda: figures() == {"jobs": 7}, 20.0)
    units.states[WORKER] = Unit.FAILED
    assert figures() == {}


def group(first: str, *, begun: bool) -> ServerGroup:
    return ServerGroup("queue", 1, first, begun, "fd00::7", (ServerHost(**vars(ME), ready=begun),))


def test_a_server_starts_when_it_is_the_one_that_begins_or_the_role_has_begun(
    units: Recorder, tmp_path: Path
) -> None:
    supervisor = make(tmp_path, Kind.SERVERS)
    mine = OrderedRole("queue", 9, None)
    other = "8SFqwqnq4whPhs8icwHA2hQg3hUoN1qrCLK1SBx3WKwe"
    supervisor.take(replace(order(mine), servers=(group(other, begun=False),)))
    settle(supervisor, 10.0)
    (state,) = supervisor.take(replace(order(mine), servers=(group(other, begun=True),))).roles
    assert (state.state, state.reason) == ("waiting", "another member begins it")
    assert units.calls == []
    settle(supervisor, 11.0)
    assert units.calls == [("start", QUEUE)]
    beginning = make(tmp_path, Kind.SERVERS)
    units.calls, units.states[QUEUE] = [], Unit.INACTIVE
    beginning.take(replace(order(mine), servers=(group(ME.node_id, begun=False),)))
    settle(beginning, 12.0)
    assert units.calls == [("start", QUEUE)]


def test_who_needs_a_role_of_kind_servers_waits_until_it_has_begun(
    supervisor: Supervisor, units: Recorder
) -> None:
    supervisor.take(replace(order(EVERY), servers=(group(ME.node_id, begun=False),)))
    settle(supervisor, 10.0)
    (state,) = supervisor.take(replace(order(EVERY), servers=(group(ME.node_id, begun=True),))).roles
    assert state.reason == "queue has not begun"
    settle(supervisor, 11.0)
    assert units.calls == [("start", WORKER)]


def test_a_lease_that_goes_on_is_no_news_and_all_else_is() -> None:
    known = without_times(order(LEASE))
    assert without_times(order(replace(LEASE, until=200.0))) == known
    assert without_times(order(replace(LEASE, until=None))) != known
    assert without_times(order(replace(LEASE, epoch=5))) != known
    assert without_times(order(LEASE, secret=b"t" * 32)) != known
