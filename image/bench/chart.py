# SPDX-License-Identifier: Apache-2.0
"""Draw each figure of a bench as a bar against its target, in one SVG."""

from collections.abc import Sequence

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

from image.bench.figures import Figure

_MET, _MISSED = "#2e7d32", "#c62828"
_ROW = 62  # pixels of height for each bar
_STEP = 25  # percent between two lines of the grid


def draw_chart(figures: Sequence[Figure], subtitle: str) -> bytes:
    """Return the figures that have a target as an SVG: bars in percent of the target, the best at the top."""
    aimed = [figure for figure in figures if figure.limit is not None]
    style = Style(
        background="white",
        plot_background="white",
        colors=(_MET, _MISSED),
        opacity="0.85",
        value_colors=("white", "white"),
        title_font_size=19,
        label_font_size=14,
        major_label_font_size=14,
        value_label_font_size=14,
        value_font_size=14,
        legend_font_size=14,
        foreground_strong="#111111",
        foreground="#222222",
        foreground_subtle="#bbbbbb",
    )
    widest = max([100.0, *(figure.share for figure in aimed)])
    ticks = [step * _STEP for step in range(int(widest // _STEP) + 2)]
    chart = pygal.HorizontalStackedBar(
        style=style,
        title=f"Cluster-OS bench: figures in percent of their limits\n{subtitle}",
        x_title="percent of the limit: 100 % and less meets the target",
        width=1000,
        height=190 + _ROW * len(aimed),
        spacing=18,
        margin=24,
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        print_values=True,
        print_values_position="center",
        y_labels=ticks,
        y_labels_major=[100],
        range=(0, ticks[-1]),
        truncate_label=-1,
        js=(),
        disable_xml_declaration=False,
        value_formatter=lambda value: f"{value:.0f} %",
    )
    # Rows are drawn from the bottom up.
    rows = aimed[::-1]
    chart.x_labels = [f"{figure.name}: {figure.write(figure.value)}" for figure in rows]
    for title, wanted in (("target met", True), ("target missed", False)):
        chart.add(title, [_bar(figure) if figure.met is wanted else None for figure in rows])
    return bytes(chart.render())


def _bar(figure: Figure) -> dict[str, object]:
    text = f"{figure.share:.0f} % of {figure.write(figure.limit)}"
    return {"value": round(figure.share, 1), "formatter": lambda _: text, "label": text}
