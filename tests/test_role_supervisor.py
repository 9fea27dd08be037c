# SPDX-License-Identifier: Apache-2.0
"""The supervisor with a recorder in systemd's place: what it writes, starts and stops, and when."""

import os
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.facts import read_facts
from agent.roles import supervisor as supervisors
from agent.roles.order import (
    DeliveredSecret,
    Holder,
    Host,
    Order,
    OrderedRole,
    ServerGroup,
    ServerHost,
    without_times,
)
from agent.roles.plan import KILL_AFTER, Unit
from agent.roles.role import Census, Drain, Kind, OnChange, Placement, RenderedFile, Role, SharedSecret
from agent.roles.supervisor import Supervisor
from agent.roles.users import HOMES
from agent.tree import Tree
from agent.users.userdb_folder import UserdbFolder
from harness.waiting import wait_for
from tests.example_users import ALICE, BOB

ME = Host("3jziSxiYaDg5UQvdWtkXbHKw1pVovCSTdFy4roQm7FQN", "n-3jzisxiyad", "10.86.0.1", "fd00::1", voter=True)
QUEUE, WORKER = "queue.service", "worker.service"


class Recorder:
    """Units that do what they are told at once, unless they `linger`."""

    def __init__(self) -> None:
        self.states = {QUEUE: Unit.INACTIVE, WORKER: Unit.INACTIVE}
        self.calls: list[tuple[str, str]] = []
        self.linger = False
        self.fails: set[str] = set()

    def read_units(self, units: Iterable[str]) -> dict[str, Unit]:
        return {unit: self.states[unit] for unit in units}

    def start(self, unit: str) -> None:
        self.calls.append(("start", unit))
        self.states[unit] = Unit.FAILED if unit in self.fails else Unit.ACTIVE

    def stop(self, unit: str) -> None:
        self.calls.append(("stop", unit))
        self.states[unit] = Unit.STOPPING if self.linger else Unit.INACTIVE

    def kill(self, unit: str) -> None:
        self.calls.append(("kill", unit))
        self.states[unit] = Unit.FAILED

    def restart(self, unit: str) -> None:
        self.calls.append(("restart", unit))

    def reload(self, unit: str) -> None:
        self.calls.append(("reload", unit))


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(supervisors, "systemd", recorder)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    return recorder


@pytest.fixture
def supervisor(units: Recorder, tmp_path: Path) -> Supervisor:
    return make(tmp_path)


def make(tmp_path: Path, kind: Kind = Kind.LEADER) -> Supervisor:
    (tmp_path / "queue.conf.j2").write_text("at {{ holders['queue'].address }} in {{ epoch }}\n")
    (tmp_path / "names.j2").write_text("{% for m in members %}{{ m.hostname }}\n{% endfor %}")
    files = (
        RenderedFile(str(tmp_path / "out/queue.conf"), "queue.conf.j2", "root", 0o640, OnChange.RESTART),
        RenderedFile(str(tmp_path / "out/names"), "names.j2", "root", 0o644, OnChange.RELOAD),
    )
    key = (SharedSecret("queue/key", 32),)
    placement, census = Placement(), Census(("/bin/echo", '{"jobs": 7}'), 10)
    roles = {
        "queue": Role("queue", tmp_path, kind, "", placement, (), key, files, (QUEUE,), None),
        "worker": Role(
            "worker", tmp_path, Kind.EVERY, "", placement, ("queue",), key, (), (WORKER,), None, census
        ),
    }
    (tmp_path / "etc").mkdir(exist_ok=True)
    userdb = UserdbFolder(tmp_path / "homes.conf", tmp_path / "userdb", tmp_path / "etc")
    return Supervisor(roles, read_facts(Tree()), tmp_path, userdb)


def order(*roles: OrderedRole, held: bool = True, members: int = 1, secret: bytes = b"s" * 32) -> Order:
    holder = Holder("queue", ME.hostname, ME.node_id, "fd00::7", 4)
    return Order(
        cluster="lab",
        ipv4_range="10.86.0.0/16",
        ipv6_range="fd00::/64",
        me=ME,
        members=(ME,) * members,
        holders=(holder,) if held else (),
        roles=roles,
        secrets=(DeliveredSecret("queue/key", 1, b64encode(secret).decode()),) if secret else (),
    )


LEASE = OrderedRole("queue", 4, 100.0)
EVERY = OrderedRole("worker", 0, None)


def settle(supervisor: Supervisor, now: float) -> None:
    for _ in range(4):
        supervisor.tick(now)


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


def test_users_are_written_down_and_get_their_homes(
    supervisor: Supervisor, units: Recorder, tmp_path: Path
) -> None:
    users = replace(order(EVERY), users=(ALICE, BOB))
    supervisor.take(users)
    settle(supervisor, 10.0)
    assert (tmp_path / "userdb/1001.user").exists()
    assert units.calls == [("restart", HOMES), ("start", WORKER)]
    supervisor.take(replace(users, users=(BOB,)))
    settle(supervisor, 11.0)
    assert not (tmp_path / "userdb/1001.user").exists()
    assert (tmp_path / "userdb/1002.user").exists()


def test_users_stay_when_the_supervisor_is_started_anew(
    supervisor: Supervisor, units: Recorder, tmp_path: Path
) -> None:
    supervisor.take(replace(order(), users=(BOB,)))
    settle(supervisor, 10.0)
    again = make(tmp_path)
    settle(again, 11.0)
    assert (tmp_path / "userdb/bob.user").exists()


def test_users_that_cannot_be_written_hold_up_no_role_and_come_later(
    supervisor: Supervisor, units: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "userdb").write_text("")
    supervisor.take(replace(order(EVERY), users=(BOB,)))
    settle(supervisor, 10.0)
    assert units.calls == [("start", WORKER)]
    (tmp_path / "userdb").unlink()
    settle(supervisor, 11.0)
    assert (tmp_path / "userdb/bob.user").exists()
    assert units.calls[-1] == ("restart", HOMES)


def test_a_lease_that_goes_on_is_no_news_and_all_else_is() -> None:
    known = without_times(order(LEASE))
    assert without_times(order(replace(LEASE, until=200.0))) == known
    assert without_times(order(replace(LEASE, until=None))) != known
    assert without_times(order(replace(LEASE, epoch=5))) != known
    assert without_times(order(LEASE, secret=b"t" * 32)) != known
