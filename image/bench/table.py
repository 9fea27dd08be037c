# SPDX-License-Identifier: Apache-2.0
"""Show what a bench measured on a terminal."""

from collections.abc import Sequence
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from image.bench.boots import Boots
from image.bench.builds import Measured
from image.bench.chain import Unit
from image.bench.figures import Figure, sum_phases

_BOOT_CAPTION = (
    "Median seconds from power-on. Ours ends with clusteros-firstboot.service finished, Debian with "
    "multi-user.target reached, both as the serial console shows it; same kernel and machine."
)
_RATIO_CAPTION = (
    "Ratios compare the fastest run of each, as other work on a machine only ever adds time; a build counts "
    "with the start of build.py. Our own part is what a build does outside of mkosi, whatever else "
    "the machine did meanwhile."
)


def show(figures: Sequence[Figure], builds: Measured, boots: Boots, console: Console) -> None:
    """Print the tables of a bench."""
    console.print(table_figures(figures))
    console.print(table_builds(builds))
    console.print(table_boots(boots))
    console.print(
        table_units("critical chain to the default target (system only)", boots.chain.critical[-10:])
    )
    console.print(table_units("what took longest to start, initrd included", boots.chain.slowest))


def table_figures(figures: Sequence[Figure], *, caption: str = _RATIO_CAPTION) -> Table:
    """Return each figure beside its target and whether that is met."""
    table = new_table("figures and targets", "figure", "measured", "target", "", caption=caption)
    verdicts = {None: "", True: "[green]met[/]", False: "[red]MISSED[/]"}
    for figure in figures:
        target = f"≤ {figure.write(figure.limit)}" if figure.limit is not None else ""
        table.add_row(figure.name, figure.write(figure.value), target, verdicts[figure.met])
    return table


def table_builds(builds: Measured) -> Table:
    """Return the seconds of each phase of a build, ours beside mkosi alone."""
    kinds = (builds.cold.ours, builds.cold.mkosi, builds.warm.ours, builds.warm.mkosi)
    columns = ("phase", "cold", "mkosi alone", "warm", "mkosi alone", "no change")
    table = new_table("builds", *columns, caption="Median seconds.")
    sums = [sum_phases(timings) for timings in kinds]
    start = median(builds.unchanged)
    table.add_row("start build.py", _seconds(start), "", _seconds(start), "", _seconds(start))
    for name in dict.fromkeys(name for each in sums for name in each):
        table.add_row(name, *(_seconds(each.get(name)) for each in sums), "")
    totals = [median(timing.seconds for timing in timings) for timings in kinds]
    ours = (start + totals[0], totals[1], start + totals[2], totals[3], start)
    table.add_section()
    table.add_row("in all", *map(_seconds, ours))
    return table


def table_boots(boots: Boots) -> Table:
    """Return the stages of both boots."""
    table = new_table("boots", "reached", "ours", "Debian", caption=_BOOT_CAPTION)
    both = [_medians([dict(marks.seconds) for marks in each]) for each in (boots.ours, boots.debian)]
    both[0]["all jobs done (is-system-running)"] = boots.chain.stages["running"]
    names = sorted(both[0], key=lambda name: both[0][name])
    for name in names:
        table.add_row(name, *(_seconds(each.get(name)) for each in both))
    return table


def table_units(title: str, units: Sequence[Unit]) -> Table:
    """Return units with when they were done and how long their start took."""
    table = new_table(title, "unit", "part", "done at", "took", caption="Seconds from power-on.")
    for unit in units:
        table.add_row(unit.name, unit.part, _seconds(unit.at), _seconds(unit.took))
    return table


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(row[name] for row in rows) for name in rows[0]}


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def new_table(title: str, *columns: str, caption: str) -> Table:
    """Return an empty table in the style of all of them; numbers stand to the right."""
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.title_style = "bold"
    table.add_column(columns[0])
    for name in columns[1:]:
        table.add_column(name, justify="right" if name not in ("", "part") else "left")
    return table
