# SPDX-License-Identifier: Apache-2.0
"""Runs the health command of a role, and never waits for it."""

import subprocess
from contextlib import suppress

from agent.roles.role import Health

TIME_LIMIT = 30.0
"""Seconds after which a command that has not ended has failed."""


class Check:
    """The health command of one running role; times are CLOCK_BOOTTIME."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._process: subprocess.Popen[bytes] | None = None
        self._next = 0.0
        self._limit = 0.0
        self._failures = 0

    def look(self, now: float) -> bool:
        """Begin a run that is due, take the result of one that ended; False: it failed too often."""
        if self._process is not None:
            status = self._process.poll()
            if status is None and now < self._limit:
                return True
            if status is None:
                self.end()
            self._process = None
            self._failures = 0 if status == 0 else self._failures + 1
        if self._failures >= self._health.failures:
            self._failures = 0
            return False
        if now >= self._next:
            self._next, self._limit = now + self._health.every, now + TIME_LIMIT
            with suppress(OSError):
                self._process = subprocess.Popen(
                    self._health.command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            if self._process is None:
                self._failures += 1
        return True

    def end(self) -> None:
        """Kill a command that still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
