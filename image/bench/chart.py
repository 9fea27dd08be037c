# SPDX-License-Identifier: Apache-2.0
"""Draw each figure of a bench as a bar against its target, in one SVG."""

import math
from collections.abc import Sequence

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

from image.bench.figures import Figure

_MET, _MISSED = "#2e7d32", "#c62828"
_ROW = 52  # pixels of height for each bar
_LEGIBLE = 8  # percent of the chart's width from which a bar has room for its own text
_STEP = 25  # percent between two lines of the grid, or a multiple of it where there would be too many
_LINES = 10


def draw_chart(figures: Sequence[Figure], subtitle: str) -> bytes:
    """Return the figures that have a target as an SVG: bars in percent of the target, in the given order."""
    # Rows are drawn from the bottom up.
    rows = [figure for figure in figures if figure.limit is not None][::-1]
    widest = max([100.0, *(figure.share for figure in rows)])
    step = _STEP * math.ceil(widest / _STEP / _LINES)
    if step > _STEP:
        step = 100 * math.ceil(step / 100)  # so that one line is the limit
    ticks = [number * step for number in range(int(widest // step) + 2)]
    chart = pygal.HorizontalBar(
        style=Style(
            background="white",
            plot_background="white",
            opacity="1",
            value_colors=("white",),
            title_font_size=18,
            label_font_size=14,
            major_label_font_size=14,
            value_font_size=14,
            foreground="#222222",
            foreground_strong="#111111",
            foreground_subtle="#dddddd",
            major_guide_stroke_dasharray="0",
        ),
        title=f"Cluster-OS bench: what was measured, in percent of its limit\n{subtitle}",
        x_title="at most 100 % meets the target",
        width=1100,
        height=190 + _ROW * len(rows),
        margin=24,
        spacing=14,
        show_legend=False,
        print_values=True,
        y_labels=ticks,
        y_labels_major=[100],
        range=(0, ticks[-1]),
        truncate_label=-1,
        js=(),
        value_formatter=lambda value: f"{value:.0f} %",
    )
    chart.x_labels = [
        f"{figure.name}: {figure.write(figure.value)}, limit {figure.limit:g}: "
        + ("met" if figure.met else "MISSED")
        for figure in rows
    ]
    chart.add("", [_bar(figure, ticks[-1]) for figure in rows])
    return bytes(chart.render())


def _bar(figure: Figure, widest: int) -> dict[str, object]:
    # In a shorter bar the text would not be legible.
    text = f"{figure.share:.0f} %" if figure.share >= _LEGIBLE * widest / 100 else ""
    return {
        "value": round(figure.share, 1),
        "color": _MET if figure.met else _MISSED,
        "formatter": lambda _: text,
    }
