# SPDX-License-Identifier: Apache-2.0
"""Processes of a VM group are found by their mark, and no other process is ever ended."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import processes
from harness.waiting import wait_for


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = ["sleep", "60"]
    child = subprocess.Popen(command, env=processes.mark(tmp_path, "node1.qemu"))
    # An exec shows the new environment a moment after it has closed the pipe that Popen waits for.
    wait_for("the mark of sleep", lambda: processes.find(tmp_path), 10)
    yield child
    child.kill()
    child.wait()


def test_a_marked_process_is_found_by_group_and_role(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    assert [process.pid for process in processes.find(tmp_path)] == [sleeper.pid]
    assert [process.pid for process in processes.find(tmp_path, "node1.qemu")] == [sleeper.pid]
    assert processes.find(tmp_path, "holder") == []
    assert processes.find(tmp_path / "other") == []


def test_a_process_that_only_has_the_same_id_is_left_alone(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    # What a recorded id would lead to after the id was given to somebody else.
    stale = processes.Process(sleeper.pid, str(tmp_path), "node2.qemu")
    assert not stale.alive
    assert not stale.signal(signal.SIGKILL)
    stale.end(grace=1)
    assert sleeper.poll() is None


def test_a_process_that_has_ended_is_gone_before_it_is_reaped(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    (found,) = processes.find(tmp_path)
    assert not found.wait(0)
    sleeper.kill()
    assert found.wait(10)
    assert processes.find(tmp_path) == []
    assert not found.signal(signal.SIGTERM)


def test_a_process_that_does_not_want_to_end_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 60; done"
    child = subprocess.Popen(
        ["sh", "-c", script], env=processes.mark(tmp_path, "holder"), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"ready\n"
        processes.end_all(tmp_path, grace=0.2)
    assert child.wait(10) == -signal.SIGKILL
    assert processes.find(tmp_path) == []


def test_a_process_is_found_also_while_it_turns_into_another_program(tmp_path: Path) -> None:
    script = tmp_path / "again"
    script.write_text('#!/bin/sh\ntest "$1" = 0 && exec sleep 60\nexec "$0" $(($1 - 1))\n')
    script.chmod(0o755)
    child = subprocess.Popen([script, "300"], env=processes.mark(tmp_path, "node1.qemu"))
    try:
        wait_for("the first program", lambda: processes.find(tmp_path), 10)
        name = Path(f"/proc/{child.pid}/comm")
        while name.read_text() != "sleep\n":
            assert processes.Process(child.pid, str(tmp_path), "node1.qemu").alive
    finally:
        child.kill()
        child.wait()
