# SPDX-License-Identifier: Apache-2.0
"""Running programs: logged, one reason told, nothing left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import ClusterError
from harness.waiting import wait_for
from image.process import explain_failure, find_reason, run_logged


def test_output_goes_to_the_log_and_to_the_caller(tmp_path: Path) -> None:
    lines: list[str] = []
    run_logged(
        ["sh", "-c", "echo one; echo two >&2"], log=tmp_path / "log", what="work", each_line=lines.append
    )
    assert sorted(lines) == ["one", "two"]
    assert "one\n" in (tmp_path / "log").read_text()


def test_a_failure_names_the_work_the_reason_and_the_log(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="the work failed: it broke") as caught:
        run_logged(
            ["sh", "-c", "echo 'E: it broke'; echo bye; exit 3"], log=tmp_path / "log", what="the work"
        )
    assert str(tmp_path / "log") in caught.value.hint


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no-such-program is not there"):
        run_logged(["no-such-program"], log=tmp_path / "log", what="work")


def test_programs_get_no_standard_input(tmp_path: Path) -> None:
    run_logged(["sh", "-c", "! read line"], log=tmp_path / "log", what="work")


@pytest.mark.parametrize(
    ("output", "reason", "remedy"),
    [
        (
            "Err:1 http://mirror.example.org trixie InRelease\n  404  Not Found\nE: Failed to fetch x",
            "404  Not Found",
            "another with --mirror",
        ),
        (
            "Temporary failure resolving 'mirror.example.org'",
            "Temporary failure resolving",
            "check the network",
        ),
        ("Could not connect to mirror.example.org:80", "Could not connect", "check the network"),
        ("E: x\nwrite: No space left on device", "No space left on device", "make room"),
        ("E: Failed to fetch x  Hash Sum mismatch", "Hash Sum mismatch", "downloaded is damaged"),
        ("File has unexpected size (3 != 5)", "unexpected size", "downloaded is damaged"),
        (
            "Failed to preset unit: x is masked\n‣ Extra tree units/x not found\n",
            "Extra tree",
            "the full log",
        ),
        ("all is well\nlast words\n", "last words", "the full log"),
        ("", "it said nothing", "the full log"),
    ],
)
def test_the_most_telling_line_is_the_reason(output: str, reason: str, remedy: str) -> None:
    lines = output.splitlines()
    assert reason in find_reason(lines)
    assert remedy in explain_failure("work", lines, Path("log")).hint


def test_an_interruption_ends_the_children_too(tmp_path: Path) -> None:
    script = (
        "import signal; from pathlib import Path; from image.process import run_logged\n"
        # A shell that starts the tests in the background has them ignore SIGINT.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"run_logged(['sh', '-c', 'cd {tmp_path}; echo $$ > pid.new; mv pid.new pid; sleep 600'],"
        f" log=Path('{tmp_path}/log'), what='work')"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=Path(__file__).parent.parent, stderr=subprocess.DEVNULL
    )
    try:
        while not (tmp_path / "pid").exists():
            assert parent.poll() is None
            os.sched_yield()
        child = int((tmp_path / "pid").read_text())
        parent.send_signal(signal.SIGINT)
        parent.wait(30)
    finally:
        parent.kill()
    # One that was killed is there until somebody has asked how it ended.
    wait_for("the child to be gone", lambda: not Path(f"/proc/{child}").exists(), 10.0)
