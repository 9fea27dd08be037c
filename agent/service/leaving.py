# SPDX-License-Identifier: Apache-2.0
"""Leave the cluster when an operator says so: first roles give up their work, then the membership ends.

Until then this node is a member like any other. One that is started anew meanwhile stays one.
"""

from collections.abc import Callable, Collection

AGAIN = 20.0
"""Seconds after which a removal of which nothing is known is asked for again."""


class Leaving:
    """`begun` once it was asked for."""

    def __init__(self, commit: Callable[[], None]) -> None:
        """`commit` has the ledger remove this node."""
        self._commit = commit
        self._again = 0.0
        self.begun = False

    def begin(self) -> None:
        """Have the roles give up their work."""
        self.begun = True

    def look(self, working: Collection[str], now: float) -> str:
        """Go on; `working`: the roles that have work to give up. Returns what is done, empty for nothing."""
        if not self.begun or working or now < self._again:
            return ""
        self._again = now + AGAIN
        self._commit()
        return "leaves the cluster"
