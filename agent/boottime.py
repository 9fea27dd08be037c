# SPDX-License-Identifier: Apache-2.0
"""The clock of leases: the same in every process of one boot, and it goes on while the machine sleeps."""

import time


def read_clock() -> float:
    """Return CLOCK_BOOTTIME in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
