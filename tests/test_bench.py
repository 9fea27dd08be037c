# SPDX-License-Identifier: Apache-2.0
"""The pure parts of a bench: what is made of measured times and sizes, and how it is shown."""

import io
import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from image.bench import forming
from image.bench.boots import FIRST_BOOT, MARKS, OUR_MARKS, Boots, Marks, find_marks
from image.bench.chain import (
    Chain,
    Unit,
    read_critical_chain,
    read_properties,
    read_span,
    read_units,
)
from image.bench.chart import draw_chart
from image.bench.figures import (
    BuildTimes,
    Comparison,
    Figure,
    Sizes,
    Timing,
    rank_boots,
    rank_builds,
    rank_sizes,
    sum_phases,
)
from image.bench.table import table_boots, table_figures, table_units

COLD = BuildTimes((Timing(103.0, {"install": 60.0, "disk": 43.0}),), (Timing(100.0, {"install": 100.0}),))
WARM = BuildTimes((Timing(42.0, {"disk": 42.0}),), (Timing(40.0, {"disk": 40.0}),))
CRITICAL = """\
The time when unit became active or started is printed after the "@" character.
The time the unit took to start is printed after the "+" character.

graphical.target @15.471s
└─multi-user.target @15.451s
  └─systemd-networkd.service @13.364s +1.696s
    └─clusteros-firstboot.service @1min 6.715s +575ms
      └─systemd-journald.socket
        └─-.slice
"""


def test_a_build_counts_with_the_start_of_build_py() -> None:
    cold, warm, _, _, unchanged = rank_builds(COLD, WARM, [1.0, 1.2, 1.4])
    assert cold.value == pytest.approx(1.04)
    assert cold.met
    assert warm.value == pytest.approx(1.075)
    assert not warm.met
    assert unchanged == Figure("build without a change", 1.2, "s", 2.0)


def test_our_own_part_is_what_mkosi_does_not_do_itself() -> None:
    slow = Timing(90.0, {"check": 1.0, "disk": 88.0, "sign": 1.0})
    quick = Timing(42.5, {"check": 0.5, "disk": 41.0, "sign": 1.0})
    times = BuildTimes((slow, quick), (Timing(40.0, {"disk": 40.0}), Timing(80.0, {"disk": 80.0})))
    assert times.own_part(0.5) == pytest.approx(100 * 2.0 / 40.0)
    _, _, cold, warm, _ = rank_builds(times, times, [0.5])
    assert cold.value == warm.value == pytest.approx(5.0)
    assert warm.met


def test_a_ratio_compares_the_fastest_runs() -> None:
    assert Comparison((30.0, 24.0, 50.0), (20.0, 40.0)).ratio == 1.2


@given(st.lists(st.floats(1, 100), min_size=1), st.lists(st.floats(1, 100), min_size=1), st.floats(0, 100))
def test_one_disturbed_run_does_not_change_a_ratio(
    ours: list[float], other: list[float], disturbance: float
) -> None:
    disturbed = Comparison((*ours, max(ours) + disturbance), (*other, max(other) + disturbance))
    assert disturbed.ratio == Comparison(tuple(ours), tuple(other)).ratio


def test_a_phase_is_the_median_of_its_runs_and_missing_counts_as_nothing() -> None:
    runs = [Timing(0, {"a": 1.0, "b": 9.0}), Timing(0, {"a": 3.0}), Timing(0, {"a": 2.0, "c": 1.0})]
    assert sum_phases(runs) == {"a": 2.0, "b": 0.0, "c": 0.0}


def test_phases_stay_in_the_order_of_time() -> None:
    assert list(sum_phases([Timing(0, {"z": 1.0, "a": 1.0})])) == ["z", "a"]


@pytest.mark.parametrize(("value", "met"), [(1.25, True), (1.26, False)])
def test_a_value_on_its_limit_meets_the_target(value: float, met: bool) -> None:
    assert Figure("boot", value, "×", 1.25).met is met


def test_a_limit_of_nothing_is_met_by_nothing_only() -> None:
    assert [(Figure("x", value, "", 0).met, Figure("x", value, "", 0).share) for value in (0, 1)] == [
        (True, 100.0),
        (False, 200.0),
    ]


def test_a_figure_without_limit_is_neither_met_nor_missed() -> None:
    figure = Figure("initrd", 20.0, "MiB")
    assert (figure.met, figure.share) == (None, 0.0)


def test_forming_is_judged_by_the_boots_of_the_same_machines_alone() -> None:
    figure = forming.judge(formed=(90.0, 80.0), alone=(52.0, 50.0), together=(60.0, 61.0))[0]
    assert (figure.value, figure.limit, figure.met) == (1.6, 1.6, True)


def test_only_the_vm_profile_has_size_limits() -> None:
    size = Sizes(image=500 << 20, root=351 << 20, kernel=63 << 20, initrd=20 << 20)
    met = {figure.name: figure.met for figure in rank_sizes({"vm": size, "node": size})}
    assert met["vm: root partition"] is False
    assert met["vm: kernel image (UKI)"] is True
    assert {value for name, value in met.items() if name.startswith("node")} == {None}


def test_a_boot_is_compared_by_its_own_end() -> None:
    chain = Chain("running", {"running": 40.0}, (), ())
    ours = Marks({"kernel": 3.0, FIRST_BOOT: 30.0, "multi-user.target": 33.0}, "6.12")
    debian = Marks({"kernel": 4.0, "multi-user.target": 25.0}, "6.12")
    boots = Boots((ours,), (debian,), chain, "tcg")
    assert rank_boots(boots.compare())[0].value == pytest.approx(1.2)
    shown = _print(table_boots(boots))
    assert "all jobs done (is-system-running)" in shown
    assert shown.index("kernel") < shown.index(FIRST_BOOT) < shown.index("multi-user.target")


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        ("[    0.000000] Linux version 6.12.117+deb13-cloud-amd64 (debian-kernel@…", "kernel"),
        ("[    5.142495] systemd[1]: Running in initrd.", "initrd"),
        ("         Starting initrd-switch-root.service - Switch Root...", "root file system"),
        ("[  OK  ] Finished clusteros-firstboot.servi…dentity and Host Name of this Node.", FIRST_BOOT),
        ("bench: multi-user.target is reached", "multi-user.target"),
    ],
)
def test_a_line_of_the_console_is_one_mark(line: str, mark: str) -> None:
    assert list(find_marks(f"before\n{line}\nafter", OUR_MARKS)) == [mark]


def test_a_unit_that_only_starts_is_no_mark() -> None:
    assert (
        find_marks("Starting clusteros-firstboot.servi…\nStopped target multi-user.target", OUR_MARKS) == {}
    )


def test_the_kernel_mark_tells_its_version() -> None:
    assert find_marks("Linux version 6.12.117-cloud (x)", MARKS)["kernel"]["version"] == "6.12.117-cloud"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15.471s", 15.471), ("938ms", 0.938), ("1min 2.5s", 62.5), ("2min", 120), ("7us", 7e-6)],
)
def test_a_span_of_time_reads_as_systemd_writes_it(text: str, seconds: float) -> None:
    assert read_span(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "fast", "3 parsecs", "1.5"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a span"):
        read_span(text)


def test_a_critical_chain_is_in_the_order_of_time_and_counts_from_power_on() -> None:
    units = read_critical_chain(CRITICAL, offset=10.0)
    assert [unit.name for unit in units] == [
        "clusteros-firstboot.service",
        "systemd-networkd.service",
        "multi-user.target",
        "graphical.target",
    ]
    assert units[0].at == pytest.approx(77.29)
    assert units[0].took == pytest.approx(0.575)
    assert units[1].at == pytest.approx(25.06)


def test_unit_names_in_a_chain_lose_nothing_but_the_drawing() -> None:
    (unit,) = read_critical_chain("      └─systemd-tmpfiles-setup-dev@x.service @6.415s +240ms\n", offset=0)
    assert unit.name == "systemd-tmpfiles-setup-dev@x.service"


def test_units_of_the_initrd_are_told_from_those_of_the_system() -> None:
    starting, started = "7d4958e842da4a758f6c1cdc7b36dcc5", "39f53479d3a045ac8e11786248231fbf"
    journal = [
        _entry("mount.service", starting, 4_000_000),
        _entry("never.service", starting, 4_500_000),
        _entry("mount.service", started, 6_500_000),
        _entry("lonely.service", started, 7_000_000),
        _entry("chrony.service", starting, 9_000_000),
        json.dumps({"MESSAGE": "no unit", "__MONOTONIC_TIMESTAMP": "9100000"}),
        _entry("chrony.service", started, 9_250_000),
    ]
    assert read_units(journal, offset=3.0, system=11.0) == [
        Unit("mount.service", 9.5, 2.5, "initrd"),
        Unit("chrony.service", 12.25, 0.25, "system"),
    ]


def test_time_stamps_of_systemd_become_seconds() -> None:
    assert read_properties("FinishTimestampMonotonic=1500000\nId=x\n") == {"FinishTimestampMonotonic": 1.5}


def test_the_table_names_target_and_verdict() -> None:
    rows = _print(
        table_figures([Figure("a", 1.0, "s", 2.0), Figure("b", 3.0, "s", 2.0), Figure("c", 4.0, "s")])
    )
    lines = {line.split()[0]: line for line in rows.splitlines() if line[1:3] in ("a ", "b ", "c ")}
    assert "≤ 2.00 s" in lines["a"]
    assert "met" in lines["a"]
    assert "MISSED" in lines["b"]
    assert "met" not in lines["c"]


def test_the_table_of_units_shows_where_each_ran() -> None:
    shown = _print(table_units("slow", [Unit("a.service", 2.0, 1.5, "initrd")]))
    assert "a.service  " in shown
    assert "initrd" in shown
    assert "1.50" in shown


def test_the_chart_is_an_svg_with_each_target_beside_its_figure() -> None:
    figures = [
        Figure("cold build", 1.02, "× mkosi", 1.05),
        Figure("boot", 1.5, "×", 1.25),
        Figure("d", 9, "MiB"),
    ]
    root = ET.fromstring(draw_chart(figures, "3 runs"))
    text = " ".join(root.itertext())
    assert root.tag.endswith("svg")
    assert "cold build: 1.02 × mkosi, limit 1.05: met" in text
    assert "97 %" in text
    assert "boot: 1.50 ×, limit 1.25: MISSED" in text
    assert "120 %" in text
    assert "9.00 MiB" not in text


def test_the_chart_runs_no_program_and_loads_nothing() -> None:
    drawn = draw_chart([Figure("boot", 1.5, "×", 1.25)], "1 run").decode()
    assert 'src="' not in drawn
    assert "@import" not in drawn


def _entry(unit: str, message: str, microseconds: int) -> str:
    return json.dumps({"UNIT": unit, "MESSAGE_ID": message, "__MONOTONIC_TIMESTAMP": str(microseconds)})


def _print(table: object) -> str:
    console = Console(file=io.StringIO(), width=160, force_terminal=False)
    console.print(table)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()
