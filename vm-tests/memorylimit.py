# SPDX-License-Identifier: Apache-2.0
"""Hold programs to an amount of memory, page cache and tmpfs included, by a cgroup (version 1 or 2).

https://docs.kernel.org/admin-guide/cgroup-v2.html and …/cgroup-v1/memory.html
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryLimit:
    """A cgroup with a limit; `command` is what a command line begins with to run in it."""

    folder: Path

    @property
    def command(self) -> tuple[str, ...]:
        """Return the beginning of a command line that runs within the limit."""
        return ("sh", "-ec", f'echo $$ >{self.folder}/cgroup.procs; exec "$@"', "sh")

    def count_kills(self) -> int:
        """Return how many programs the kernel ended for want of memory."""
        events = self.folder / "memory.events"
        text = (events if events.exists() else self.folder / "memory.oom_control").read_text()
        return int(dict(line.split() for line in text.splitlines())["oom_kill"])


@contextlib.contextmanager
def limit_memory(limit: int) -> Iterator[MemoryLimit]:
    """Make a cgroup that holds at most `limit` bytes; it must be empty again at the end. Needs root."""
    version1 = _ROOT / "memory"
    folder = (version1 if version1.is_dir() else _ROOT) / f"cluster-os-test-{os.getpid()}"
    folder.mkdir()
    try:
        names = ("memory.limit_in_bytes",) if version1.is_dir() else ("memory.max", "memory.swap.max")
        for name, value in zip(names, (limit, 0), strict=False):
            (folder / name).write_text(str(value))
        yield MemoryLimit(folder)
    finally:
        folder.rmdir()
