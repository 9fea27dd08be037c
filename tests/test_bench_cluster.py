# SPDX-License-Identifier: Apache-2.0
"""The cluster part of a bench: what is made of its samples, and that it tidies up and takes time rightly."""

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agent.errors import ClusterError
from harness import processes
from harness.waiting import LimitExceeded, wait_for
from image.bench.chart import draw_chart
from image.bench.cluster import describe, samples, show, tick
from image.bench.cluster.ground import LONGEST, hold_ground, make_group
from image.bench.cluster.guard import clear
from image.bench.cluster.idle import read_cpu, read_memory
from image.bench.cluster.samples import Measured, find_growth, judge, percentile
from image.bench.cluster.writes import find_first

TIMES = {
    samples.FORMED: [2.0, 4.0],
    samples.JOINED: [1.0, 1.0],
    samples.SEEN: [5.0, 5.6],
    samples.GONE: [0.1, 0.1],
    samples.COMMITTED: [1.0, 3.0],
    samples.HELD: [6.5, 9.5],
    samples.SERF_FORMED: [0.5, 0.9],
    samples.SERF_JOINED: [0.2, 0.2],
    samples.SEEN_BY_SERF: [5.0, 5.0],
    samples.ETCD_COMMITTED: [1.0, 1.5],
}
IDLE = {
    samples.AGENT_CPU: [0.4, 1.2],
    samples.AGENT_MEMORY: [50.0, 61.0],
    samples.SERF_CPU: [0.2, 0.3],
    samples.SERF_MEMORY: [17.0, 18.0],
}
TICKS = {10: [0.001], 100: [0.003, 0.003], 1000: [0.03, 0.06], 5000: [0.15]}
MEASURED = Measured(TIMES, IDLE, TICKS, lease=6.0)


def test_each_target_is_judged_by_the_same_share_of_what_it_is_compared_with() -> None:
    limits = {figure.name: (figure.value, figure.limit or 0.0) for figure in judge(MEASURED)}
    assert limits[f"{samples.FORMED}, p50"] == (2.0, 3 * 0.5 + 1)
    assert limits[f"{samples.FORMED}, p95"] == pytest.approx((4.0, 3 * 0.9 + 1))
    assert limits[f"{samples.COMMITTED}, p50"] == (1.0, 1.5)
    assert limits[f"{samples.COMMITTED}, p95"] == (3.0, 2.25)
    assert limits[f"{samples.HELD}, p50"] == (6.5, 6.0 + 1.0)
    assert limits[f"{samples.HELD}, p95"] == (9.5, 6.0 + 3.0)
    assert limits[f"{samples.SEEN}, p95"] == pytest.approx((5.6, 5.5))
    assert limits["tick over 1000 members, p50"] == (30.0, 50.0)


def test_a_target_is_met_or_missed_for_each_share() -> None:
    verdicts = {figure.name: figure.met for figure in judge(MEASURED)}
    missed = {name for name, met in verdicts.items() if met is False}
    assert missed == {
        f"{samples.FORMED}, p95",
        f"{samples.COMMITTED}, p95",
        f"{samples.HELD}, p95",
        f"{samples.SEEN}, p95",
        f"{samples.AGENT_CPU}, p95",
        f"{samples.AGENT_MEMORY}, p95",
        "tick over 1000 members, p95",
    }


@given(st.lists(st.floats(0, 100), min_size=1))
def test_a_percentile_is_a_sample_with_so_many_at_or_below_it(values: list[float]) -> None:
    for share in (0.5, 0.95):
        found = percentile(values, share)
        assert found in values
        assert sum(value <= found for value in values) >= share * len(values)
        assert sum(value < found for value in values) < share * len(values)


@given(st.floats(0.5, 2.5), st.floats(1e-6, 1e-3))
def test_growth_is_the_exponent_of_the_number_of_members(exponent: float, unit: float) -> None:
    ticks = {size: [unit * size**exponent] for size in (10, 100, 1000, 5000)}
    assert find_growth(ticks) == pytest.approx(exponent)


def test_table_report_and_chart_have_all_that_was_measured() -> None:
    figures = judge(MEASURED)
    console = Console(file=io.StringIO(), width=200)
    show.show(MEASURED, figures, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    report = describe(MEASURED, figures, load=0.0, runs=2)
    assert [each["name"] for each in report["measured"]] == [
        *TIMES,
        *IDLE,
        *(f"tick over {size} members" for size in TICKS),
    ]
    for each in report["measured"]:
        assert each["name"] in text
    drawn = "".join(ET.fromstring(draw_chart(figures, "2 runs")).itertext())
    for figure in figures:
        assert figure.name in drawn


def test_a_tick_over_a_calm_cluster_has_nothing_to_do(tmp_path: Path) -> None:
    taken = tick.measure(12, 3, tmp_path)
    assert len(taken) == 3
    assert all(seconds > 0 for seconds in taken)


def test_a_tick_sets_a_peer_for_every_other_member_at_first(tmp_path: Path) -> None:
    assert tick.World(12, tmp_path).tick(0.0) == 11


def test_the_first_write_that_succeeds_counts() -> None:
    refused = 0

    def refuse() -> None:
        nonlocal refused
        refused += 1
        raise ClusterError("there is no leader")

    began = time.monotonic()
    found = find_first([refuse, lambda: None], limit=10)
    assert refused == 1
    assert began <= found <= time.monotonic()


def test_writes_that_never_succeed_are_given_up() -> None:
    def refuse() -> None:
        raise TimeoutError

    with pytest.raises(LimitExceeded):
        find_first([refuse], limit=0.2)


def test_cpu_and_memory_of_a_process_are_read() -> None:
    process = processes.Process(os.getpid(), "", "")
    before = read_cpu(process)
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    assert 0.02 <= read_cpu(process) - before < 5
    assert 5 < read_memory(process) < 5000


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path that is short enough for sockets, which pytest's own may not have."""
    with tempfile.TemporaryDirectory(prefix="b") as folder:
        yield Path(folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_bench_that_is_killed(short: Path, number: signal.Signals) -> None:
    program = (
        "import subprocess, sys; from pathlib import Path; from harness import processes; "
        "from image.bench.cluster.ground import hold_ground, make_group\n"
        "with hold_ground(Path(sys.argv[1])) as ground:\n"
        "    group = make_group(ground, 'nodes')\n"
        "    subprocess.Popen(['sleep', '60'], env=processes.mark(group, 'node'), stdout=2)\n"
        "    print(group, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    bench = subprocess.Popen(
        [sys.executable, "-c", program, str(short)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert bench.stdout is not None
    assert bench.stdin is not None
    with bench.stdout, bench.stdin:
        group = Path(bench.stdout.readline().decode().strip())
        wait_for("the process of the group", lambda: processes.find(group), 10, every=0.01)
        bench.send_signal(number)
        bench.wait(20)
    wait_for("the guard to tidy up", lambda: not processes.find(group), 20, every=0.01)
    wait_for("the folder to go", lambda: not list(short.iterdir()), 20, every=0.01)


def test_what_an_earlier_bench_left_is_taken_away(tmp_path: Path) -> None:
    left = tmp_path / "cluster-left"
    left.mkdir()
    group = make_group(left, "nodes")
    process = subprocess.Popen(["sleep", "60"], env=processes.mark(group, "node"))
    wait_for("the process of the group", lambda: processes.find(group), 10, every=0.01)
    clear(left)
    assert process.wait(10) == -signal.SIGTERM
    assert not left.exists()


def test_a_cache_with_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * LONGEST)[:LONGEST]
    folder.mkdir()
    with pytest.raises(ClusterError, match="too long"), hold_ground(folder):
        pass
    assert not list(folder.iterdir())
