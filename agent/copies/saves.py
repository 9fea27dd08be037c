# SPDX-License-Identifier: Apache-2.0
"""Whether a role has saved what it knew at some time. `is_saved` is pure.

A role that keeps its state in memory says so by two files: one that it touches whenever it begins to save,
and one in its state that is replaced when it has. All times are seconds of CLOCK_BOOTTIME.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from agent.copies.message import NAME
from agent.status.schema import Text

QUIET = 1.5
"""Seconds without a save after which there is nothing to save: a role begins to within one."""


@dataclass(frozen=True)
class Saves:
    """Where a role tells that it saves."""

    begin: Annotated[str, Text(r"/run(/[A-Za-z0-9][A-Za-z0-9._-]*)+")]  # touched when a save begins
    file: Annotated[str, Text(NAME)]  # within the state; replaced when the save is done


def is_saved(since: float, begun: float | None, done: float | None, now: float) -> bool:
    """Tell whether what was so at `since` is saved; `begun`, `done`: when those files were last written."""
    if begun is None or done is None or done < begun:
        return False
    return begun > since or now - max(since, done) > QUIET


def read_times(saves: Saves, state: Path) -> tuple[float | None, float | None]:
    """Return when a save last began, and when one was done."""
    offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def read(path: Path) -> float | None:
        try:
            return os.stat(path, follow_symlinks=False).st_mtime - offset  # noqa: PTH116
        except OSError:
            return None

    return read(Path(saves.begin)), read(state / saves.file)
