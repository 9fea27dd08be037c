# SPDX-License-Identifier: Apache-2.0
"""Show rows to a person: tables on a terminal, columns parted by tabs elsewhere."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text


@dataclass(frozen=True)
class Table:
    """Rows under columns; what a row does not have is shown as `-`. `title` is a line before them."""

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    title: str = ""

    def lines(self) -> list[list[str]]:
        """Return the cells as text."""
        return [
            ["-" if row.get(column) in (None, "") else str(row[column]) for column in self.columns]
            for row in self.rows
        ]


Show = Callable[[Sequence[Table]], None]


def show(tables: Sequence[Table]) -> None:
    """Print the tables."""
    if sys.stdout.isatty():
        _console().print(_layout(tables))
        return
    for number, table in enumerate(tables):
        if number:
            print()
        if table.title:
            print(f"# {table.title}")
        for line in [list(table.columns), *table.lines()]:
            print("\t".join(line))


@contextmanager
def screen(changing: bool) -> Iterator[Show]:
    """Give a `show` that replaces what it showed before, where `changing`; the last tables stay."""
    if not changing:
        yield show
        return
    with Live(console=_console(), auto_refresh=False) as live:
        yield lambda tables: live.update(_layout(tables), refresh=True)


def _console() -> Console:
    return Console(highlight=False, markup=False)


def _layout(tables: Sequence[Table]) -> Group:
    parts: list[Text | RichTable] = []
    for table in tables:
        if parts:
            parts.append(Text())
        if table.title:
            parts.append(Text(table.title, style="bold"))
        drawn = RichTable(*table.columns, box=None, header_style="dim")
        for line in table.lines():
            drawn.add_row(*map(Text, line))
        parts.append(drawn)
    return Group(*parts)
