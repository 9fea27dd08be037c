# SPDX-License-Identifier: Apache-2.0
"""Runs the command by which a role gives up its work before its units stop, and never waits for it."""

import logging
import os
import signal
import subprocess

from agent.roles.role import Drain

_log = logging.getLogger("roles")


class Draining:
    """One drain of each role at a time; times are CLOCK_BOOTTIME. A command that fails holds nothing up."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}  # until when
        self._begun: set[str] = set()

    def look(self, role: str, drain: Drain, now: float) -> bool:
        """Begin, or go on; tell whether it is over."""
        if role not in self._begun:
            self._begun.add(role)
            _log.info("%s: gives up its work, for at most %d s", role, drain.limit)
            try:
                process = subprocess.Popen(
                    drain.command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    # What keeps it from ending is for people, in the journal.
                    start_new_session=True,
                )
            except OSError as error:
                _log.warning("%s: its drain command cannot be run: %s", role, error.strerror)
                return True
            self._running[role] = process, now + drain.limit
        if role not in self._running:
            return True
        process, until = self._running[role]
        status = process.poll()
        if status is None and now < until:
            return False
        if status is None:
            _log.warning("%s: has not given up its work in time, and is stopped", role)
        elif status:
            _log.warning("%s: its drain command ended with %d", role, status)
        self._end(role)
        return True

    def forget(self, role: str) -> bool:
        """End what still runs; tell whether a drain had begun."""
        self._end(role)
        begun = role in self._begun
        self._begun.discard(role)
        return begun

    def _end(self, role: str) -> None:
        process, _ = self._running.pop(role, (None, 0.0))
        if process is not None and process.poll() is None:
            # With all that it has started: it leads a session, and so a group, of its own.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
