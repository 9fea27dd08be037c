# SPDX-License-Identifier: Apache-2.0
"""Wait for a condition with a limit: the one place where anything here waits by looking again."""

import time
from collections.abc import Callable
from typing import TypeVar

from agent.errors import ClusterError

T = TypeVar("T")

LOOK_AGAIN = 0.2
"""Seconds between two looks at what nothing announces (a file that grows, a guest that starts)."""


class LimitExceeded(ClusterError):
    """What was waited for did not come in time."""


def wait_for(
    what: str, condition: Callable[[], T | None], limit: float, *, hint: str = "", every: float = LOOK_AGAIN
) -> T:
    """Return the first truthy value of `condition()`; `limit`, and `every` between two looks, in seconds.

    Raises LimitExceeded that names `what`. The condition is looked at once more when the limit is over, so
    that a busy machine does not turn a thing that came in time into a failure.
    """
    end = time.monotonic() + limit
    while True:
        last_look = time.monotonic() >= end
        value = condition()
        if value:
            return value
        if last_look:
            raise LimitExceeded(f"waited {limit:.0f} s in vain for {what}", hint=hint)
        time.sleep(every)
