# SPDX-License-Identifier: Apache-2.0
"""A running role lets go of members that went, by its command."""

from pathlib import Path

import pytest

from agent.roles.letting_go import LettingGo
from agent.roles.order import Gone
from agent.roles.role import Kind, Placement, Role
from harness.waiting import wait_for
from tests.small_cluster import NODES

GONE = tuple(Gone("db", node, f"n-{number}") for number, node in enumerate(NODES[:3]))


def make(tmp_path: Path, script: str) -> Role:
    command = ("/bin/sh", "-c", script, "sh", str(tmp_path), "{hostname}", "{node_id}")
    return Role(
        "db", tmp_path, Kind.SERVERS, "", Placement(), (), (), (), ("db.service",), None, on_removed=command
    )


def said(tmp_path: Path) -> list[str]:
    path = tmp_path / "said"
    return path.read_text().splitlines() if path.exists() else []


def work(letting_go: LettingGo, role: Role, count: int, now: float = 0.0) -> None:
    def done() -> bool:
        letting_go.look(role, GONE, now)
        return len(letting_go.done(GONE)) == count

    wait_for(f"{count} to be let go of", done, 10)


def test_its_command_is_run_for_each_one_once(tmp_path: Path) -> None:
    role, letting_go = make(tmp_path, 'echo "$2 $3" >>"$1/said"'), LettingGo()
    work(letting_go, role, 3)
    letting_go.look(role, GONE, 100.0)
    assert said(tmp_path) == [f"{each.hostname} {each.node_id}" for each in GONE]


def test_a_command_that_fails_is_run_again_later_and_nothing_is_done_before(tmp_path: Path) -> None:
    role, letting_go = make(tmp_path, 'echo "$2" >>"$1/said"; test -e "$1/works"'), LettingGo()

    def failed() -> bool:
        letting_go.look(role, GONE, 0.0)
        return not letting_go._running and bool(said(tmp_path))

    wait_for("it to fail", failed, 10)
    letting_go.look(role, GONE, 0.9)
    assert said(tmp_path) == ["n-0"]
    assert letting_go.done(GONE) == ()
    (tmp_path / "works").touch()
    work(letting_go, role, 3, now=1.1)
    assert said(tmp_path) == ["n-0", "n-0", "n-1", "n-2"]


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.roles.letting_go.TIME_LIMIT", 5.0)
    role, letting_go = make(tmp_path, "exec sleep 100"), LettingGo()
    letting_go.look(role, GONE, 0.0)
    (_, process, _) = letting_go._running["db"]
    letting_go.look(role, GONE, 4.0)
    assert process.poll() is None
    letting_go.look(role, GONE, 5.0)
    assert process.poll() is not None
    assert letting_go.done(GONE) == ()


def test_what_nobody_asks_for_any_more_is_forgotten_and_done_again_when_asked(tmp_path: Path) -> None:
    role, letting_go = make(tmp_path, 'echo "$2" >>"$1/said"'), LettingGo()
    work(letting_go, role, 3)
    assert letting_go.done(()) == ()
    work(letting_go, role, 3)
    assert len(said(tmp_path)) == 6
