# SPDX-License-Identifier: Apache-2.0
"""Show what the cluster part measured on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from image.bench.cluster.samples import SHARES, Measured, list_series, percentile
from image.bench.figures import Figure
from image.bench.table import new_table, table_figures

_SERIES_CAPTION = (
    "In network namespaces of one machine, ours and what stands beside it in turns. Stamps are late by 5 ms "
    "at most, bare Serf's by 10 ms, the first write after a leader's end by 50 ms, and by what else the "
    "machine has to do."
)
_TARGET_CAPTION = "Each share of ours beside the same share of what it is compared with."


def show(measured: Measured, figures: Sequence[Figure], console: Console) -> None:
    """Print the tables."""
    console.print(table_series(measured))
    console.print(table_figures(figures, caption=_TARGET_CAPTION))


def table_series(measured: Measured) -> Table:
    """Return all that was measured, with or without a target."""
    columns = ("what", "unit", "samples", "least", *SHARES, "most")
    table = new_table("five nodes", *columns, caption=_SERIES_CAPTION)
    for name, unit, samples in list_series(measured):
        values = (min(samples), *(percentile(samples, share) for share in SHARES.values()), max(samples))
        table.add_row(
            name,
            unit,
            str(len(samples)),
            *(f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in values),
        )
    return table
