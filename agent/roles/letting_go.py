# SPDX-License-Identifier: Apache-2.0
"""Has a running role let go of members that went: its command `on_removed`, for one after the other.

`{hostname}` and `{node_id}` in the command stand for who went. It must do no harm when it is run again: who
runs it may change, and what became of it is known for good only when the ledger says so. One that fails is
run again later and later, and holds the others up.
"""

import logging
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

from agent.roles.order import Gone
from agent.roles.plan import BACKOFF
from agent.roles.role import Role

TIME_LIMIT = 120.0
"""Seconds after which a command that has not ended has failed."""
_log = logging.getLogger("roles")


class LettingGo:
    """`look` works on in the supervisor's loop; `done` is asked by another thread. Times: CLOCK_BOOTTIME."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: set[Gone] = set()
        self._running: dict[str, tuple[Gone, subprocess.Popen[bytes], float]] = {}  # by role; until when
        self._failures: dict[str, int] = {}
        self._again: dict[str, float] = {}

    def done(self, wanted: Sequence[Gone]) -> tuple[Gone, ...]:
        """Return those of `wanted` that are done; the others are forgotten, as nobody asks for them."""
        with self._lock:
            self._done &= set(wanted)
            return tuple(gone for gone in wanted if gone in self._done)

    def look(self, role: Role, wanted: Sequence[Gone], now: float) -> None:
        """Take the result of a command that ended, begin the next one that is due."""
        if role.name in self._running:
            gone, process, limit = self._running[role.name]
            status = process.poll()
            if status is None and now < limit:
                return
            if status is None:
                process.kill()
                process.wait()
            del self._running[role.name]
            self._note(gone, status, now)
        with self._lock:
            left = [gone for gone in wanted if gone.role == role.name and gone not in self._done]
        if left and now >= self._again.get(role.name, 0.0):
            self._begin(role, left[0], now)

    def _begin(self, role: Role, gone: Gone, now: float) -> None:
        argv = [
            word.replace("{hostname}", gone.hostname).replace("{node_id}", gone.node_id)
            for word in role.on_removed
        ]
        _log.info("%s: lets go of %s", role.name, gone.hostname)
        with suppress(OSError):
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._running[role.name] = gone, process, now + TIME_LIMIT
            return
        self._note(gone, None, now)

    def _note(self, gone: Gone, status: int | None, now: float) -> None:
        if status == 0:
            self._failures.pop(gone.role, None)
            self._again.pop(gone.role, None)
            with self._lock:
                self._done.add(gone)
            return
        failures = self._failures[gone.role] = self._failures.get(gone.role, 0) + 1
        self._again[gone.role] = now + BACKOFF[min(failures, len(BACKOFF)) - 1]
        why = f"ended with {status}" if status is not None else "did not end or start"
        _log.warning("%s: the command that lets go of %s %s", gone.role, gone.hostname, why)
