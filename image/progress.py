# SPDX-License-Identifier: Apache-2.0
"""Show phases of long work with elapsed time: live on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@dataclass
class Phases:
    """The phases of one piece of work; `seconds` holds what each took, in order."""

    console: Console = field(default_factory=lambda: Console(file=sys.stderr, highlight=False))
    verbose: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    _live: Progress | None = None
    _name: str = ""
    _since: float = 0.0

    @contextmanager
    def show(self) -> Iterator["Phases"]:
        """Show phases inside the block; the last one ends with it."""
        if self.console.is_terminal and not self.verbose:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._live = Progress(*columns, console=self.console, transient=True)
            self._live.start()
        try:
            yield self
        finally:
            self._end()
            if self._live:
                self._live.stop()
                self._live = None

    def begin(self, name: str) -> None:
        """End the current phase and begin another."""
        if name == self._name:
            return
        self._end()
        self._name, self._since = name, time.monotonic()
        if self._live:
            self._live.add_task(name)

    def _end(self) -> None:
        if not self._name:
            return
        taken = time.monotonic() - self._since
        self.seconds[self._name] = self.seconds.get(self._name, 0.0) + taken
        if self._live:
            for task in self._live.task_ids:
                self._live.remove_task(task)
        self.console.print(f"[green]done[/] {self._name} [dim]{taken:.1f} s[/]")
        self._name = ""

    def say(self, line: str) -> None:
        """Print a line of output."""
        self.console.print(line, markup=False, soft_wrap=True)
