# SPDX-License-Identifier: Apache-2.0
"""Users of the cluster, as the supervisor of roles writes them down."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.roles.supervisor import Supervisor
from agent.roles.users import HOMES
from tests.example_users import ALICE, BOB
from tests.recorded_roles import EVERY, WORKER, Recorder, make, order, record, settle


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return record(monkeypatch)


@pytest.fixture
def supervisor(units: Recorder, tmp_path: Path) -> Supervisor:
    return make(tmp_path)


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
