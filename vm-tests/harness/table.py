# SPDX-License-Identifier: Apache-2.0
"""Show rows to a person: a table on a terminal, columns parted by tabs elsewhere."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def show(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print `rows`; what a row does not have is shown as `-`."""
    lines = [
        ["-" if row.get(column) in (None, "") else str(row[column]) for column in columns] for row in rows
    ]
    if not sys.stdout.isatty():
        for line in [list(columns), *lines]:
            print("\t".join(line))
        return
    table = Table(*columns, box=None, header_style="bold")
    for line in lines:
        table.add_row(*line)
    Console(highlight=False, markup=False).print(table)
