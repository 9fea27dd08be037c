# SPDX-License-Identifier: Apache-2.0
"""Runs the command by which a role counts, and never waits for it."""

import logging
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from agent.errors import ClusterError
from agent.roles.figures import MAX_BYTES, parse_figures
from agent.roles.role import Census

TIME_LIMIT = 30.0
"""Seconds after which a command that has not ended is killed."""
_log = logging.getLogger("roles")


class Counting:
    """The figures of one running role; times are CLOCK_BOOTTIME. None are shown when the last run failed."""

    def __init__(self, role: str, census: Census) -> None:
        self._role = role
        self._census = census
        self._process: subprocess.Popen[bytes] | None = None
        self._next = 0.0
        self._limit = 0.0
        self._complaint = ""
        self.figures: Mapping[str, int] = {}

    def look(self, now: float) -> None:
        """Take the result of a run that ended; begin one that is due."""
        if self._process is not None:
            if self._process.poll() is None and now < self._limit:
                return
            self._note(self._process)
        if now < self._next:
            return
        self._next, self._limit = now + self._census.every, now + TIME_LIMIT
        try:
            # What it writes stays in the pipe until it has ended: 64 KiB, or it waits, and is killed.
            self._process = subprocess.Popen(
                self._census.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            self._complain((error.strerror or str(error)).lower())

    def end(self) -> None:
        """Kill a command that still runs."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def _note(self, process: "subprocess.Popen[bytes]") -> None:
        status, output = process.poll(), b""
        assert process.stdout is not None
        # A child that it left behind may still hold the pipe.
        os.set_blocking(process.stdout.fileno(), False)
        with suppress(BlockingIOError):
            output = os.read(process.stdout.fileno(), MAX_BYTES + 1)
        self.end()
        if status != 0:
            self._complain("it took too long" if status is None else f"it ended with {status}")
            return
        try:
            self.figures, self._complaint = parse_figures(output), ""
        except ClusterError as error:
            self._complain(error.message)

    def _complain(self, reason: str) -> None:
        self.figures = {}
        if reason != self._complaint:
            _log.warning("%s: its status command failed: %s", self._role, reason)
        self._complaint = reason
