# SPDX-License-Identifier: Apache-2.0
"""Write again and again, until a write succeeds: when a cluster that lost its leader works again.

The same for every system that is compared: a new write every TRY_AGAIN seconds, to each of the living nodes
in turn, and none is given up before its own time limit. A node that knows that there is no leader keeps a
write until there is one; so the stamp is late by TRY_AGAIN at most.
"""

import threading
import time
from collections.abc import Callable, Sequence

from agent.errors import ClusterError
from harness.waiting import LimitExceeded

TRY_AGAIN = 0.05


def find_first(writes: Sequence[Callable[[], None]], limit: float) -> float:
    """Return when the first write succeeded; ClusterError and OSError of a write mean that it did not."""
    succeeded: list[float] = []
    done = threading.Event()

    def attempt(write: Callable[[], None]) -> None:
        try:
            write()
        except (ClusterError, OSError):
            return
        succeeded.append(time.monotonic())
        done.set()

    end = time.monotonic() + limit
    for number in range(int(limit / TRY_AGAIN)):
        threading.Thread(target=attempt, args=(writes[number % len(writes)],), daemon=True).start()
        if done.wait(TRY_AGAIN):
            return min(succeeded)
    if done.wait(max(0.0, end - time.monotonic())):
        return min(succeeded)
    raise LimitExceeded(f"no write succeeded in {limit:.0f} s")
