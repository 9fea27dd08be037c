# SPDX-License-Identifier: Apache-2.0
"""What a role counts of itself is read strictly, and its command cannot hold up or flood the supervisor."""

import json
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from agent.roles import counting
from agent.roles.counting import Counting
from agent.roles.figures import MAX_BYTES, MOST, parse_figures
from agent.roles.role import Census
from harness.waiting import wait_for

LIMIT = 20.0  # seconds
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    max_leaves=10,
)


def test_figures_are_names_and_whole_numbers() -> None:
    assert parse_figures(b'{"running": 3, "nodes idle": 0}\n') == {"running": 3, "nodes idle": 0}
    assert parse_figures(b"{}") == {}


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"3",
        b"[3]",
        b'{"running": -1}',
        b'{"running": 1.5}',
        b'{"running": true}',
        b'{"running": "3"}',
        b'{"Running": 3}',
        b'{"<b>": 3}',
        b'{"running": %d}' % (MOST + 1),
        json.dumps({f"f{number}": number for number in range(17)}).encode(),
        b" " * MAX_BYTES + b"{}",
        b"[" * 4000,
    ],
)
def test_anything_else_is_refused_in_words(output: bytes) -> None:
    with pytest.raises(ClusterError) as caught:
        parse_figures(output)
    assert caught.value.message.isprintable()


@given(st.binary() | JSON.map(lambda content: json.dumps(content).encode()))
def test_whatever_a_command_prints_is_figures_or_refused(output: bytes) -> None:
    try:
        found = parse_figures(output)
    except ClusterError as error:
        assert error.message.isprintable()
    else:
        assert all(type(value) is int and value >= 0 for value in found.values())


def make(tmp_path: Path, script: str, every: int = 10) -> Counting:
    path = tmp_path / "count.py"
    path.write_text(script)
    return Counting("queue", Census((sys.executable, str(path)), every))


def run(subject: Counting, now: float) -> None:
    """Have it count once, beginning at `now`."""
    subject.look(now)
    process = subject._process
    assert process is not None
    process.wait(LIMIT)
    subject.look(now + 1)


def test_the_figures_are_those_of_the_last_run(tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.write_text("3")
    subject = make(tmp_path, f"print('{{\"running\": %s}}' % open({str(number)!r}).read())")
    assert subject.figures == {}
    run(subject, 100.0)
    assert subject.figures == {"running": 3}
    number.write_text("4")
    subject.look(105.0)
    assert subject._process is None, "it is not due yet"
    run(subject, 110.0)
    assert subject.figures == {"running": 4}


def test_a_command_that_fails_takes_its_figures_away_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    subject = make(
        tmp_path, "import os, sys; print('{\"x\": 1}'); sys.exit(os.path.exists('%s'))" % (tmp_path / "no")
    )
    run(subject, 100.0)
    assert subject.figures == {"x": 1}
    (tmp_path / "no").touch()
    with caplog.at_level(logging.WARNING):
        run(subject, 110.0)
        run(subject, 120.0)
    assert subject.figures == {}
    assert [record.message for record in caplog.records] == [
        "queue: its status command failed: it ended with 1"
    ]


def test_a_command_that_hangs_or_floods_is_killed_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    subject = make(tmp_path, "while True: print('x' * 100000, flush=True)")
    subject.look(100.0)
    process = subject._process
    assert process is not None
    subject.look(100.0 + counting.TIME_LIMIT - 1)
    assert subject._process is process
    with caplog.at_level(logging.WARNING):
        subject.look(100.0 + counting.TIME_LIMIT)
    wait_for("it to be dead", lambda: process.poll() is not None, LIMIT)
    assert subject.figures == {}
    assert "it took too long" in caplog.text
    subject.end()


def test_a_command_that_is_not_there_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    subject = Counting("queue", Census((str(tmp_path / "missing"),), 10))
    with caplog.at_level(logging.WARNING):
        subject.look(100.0)
    assert "its status command failed: no such file" in caplog.text
    subject.end()
