# SPDX-License-Identifier: Apache-2.0
"""Whether a role has saved what it knew at some time. `is_saved` is pure.

A role that keeps its state in memory says so by two files: one that it touches whenever it begins to save,
and one in its state that is replaced when it has. The first has two times, as a role may begin once more and
find nothing to save: modified when it began last, accessed when it did before. Whoever asks has the role
save. All times are seconds of CLOCK_BOOTTIME.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from agent.copies.message import NAME
from agent.status.schema import Text


@dataclass(frozen=True)
class Saves:
    """Where a role tells that it saves."""

    begin: Annotated[str, Text(r"/run(/[A-Za-z0-9][A-Za-z0-9._-]*)+")]  # see above
    file: Annotated[str, Text(NAME)]  # within the state; replaced when the save is done


def is_saved(since: float, begun: Iterable[float], done: float | None) -> bool:
    """Tell whether what was so at `since` is saved: one that has begun later, of `begun`, is `done`."""
    return done is not None and any(since < each <= done for each in begun)


def read_times(saves: Saves, state: Path) -> tuple[tuple[float, ...], float | None]:
    """Return when the role began to save, the last two times, and when it was done last."""
    offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def read(path: Path) -> tuple[float, ...]:
        try:
            found = os.stat(path, follow_symlinks=False)  # noqa: PTH116
        except OSError:
            return ()
        return found.st_mtime - offset, found.st_atime - offset

    return read(Path(saves.begin)), next(iter(read(state / saves.file)), None)
