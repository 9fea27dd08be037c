# SPDX-License-Identifier: Apache-2.0
"""A role's state, as its holder has it: a frozen record, no behaviour."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.copies.saves import Saves


@dataclass(frozen=True)
class Followed:
    """What is copied, under which lease, and to where on each voter."""

    folder: Path
    ignored: tuple[str, ...]  # patterns of file names (fnmatch)
    epoch: int
    port: int
    secret: bytes = field(repr=False)
    saves: Saves | None = None  # None: every change is on the disk at once

    def under(self, epoch: int) -> "Followed":
        """Return the same under another lease."""
        return replace(self, epoch=epoch)
