# SPDX-License-Identifier: Apache-2.0
"""Show rows to a person: a table on a terminal, columns parted by tabs elsewhere."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

Show = Callable[[Sequence[str], Iterable[Mapping[str, Any]]], None]


def show(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print `rows`; what a row does not have is shown as `-`."""
    lines = _lines(columns, rows)
    if not sys.stdout.isatty():
        for line in [list(columns), *lines]:
            print("\t".join(line))
        return
    Console(highlight=False, markup=False).print(_table(columns, lines))


@contextmanager
def screen(changing: bool) -> Iterator[Show]:
    """Give a `show` that replaces what it showed before, where `changing`; the last table stays."""
    if not changing:
        yield show
        return
    with Live(console=Console(highlight=False, markup=False), auto_refresh=False) as live:
        yield lambda columns, rows: live.update(_table(columns, _lines(columns, rows)), refresh=True)


def _lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    return [
        ["-" if row.get(column) in (None, "") else str(row[column]) for column in columns] for row in rows
    ]


def _table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    table = Table(*columns, box=None, header_style="bold")
    for line in lines:
        table.add_row(*line)
    return table
