# SPDX-License-Identifier: Apache-2.0
"""Carries orders to the supervisor of roles, and its reports back, in a thread of its own.

The supervisor may take its time, as it waits for systemd; the agent's loop, which renews leases, may not.
"""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from agent.control.stream import read_until, send
from agent.errors import ClusterError
from agent.roles.order import MAX_REPORT, Order, Report, decode_report, encode_order

TIME_LIMIT = 10.0
"""Seconds for each part of an exchange."""


class Outcome(NamedTuple):
    """What became of the last order that was carried: a report, or an error. Both None: none was yet."""

    report: Report | None = None
    error: ClusterError | None = None


class Courier:
    """Carries one order at a time, and the newest: what was given meanwhile is left out. `changed` wakes."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._next: Order | None = None
        self._condition = threading.Condition()
        self._outcome = Outcome()
        threading.Thread(target=self._run, name="orders", daemon=True).start()

    @property
    def outcome(self) -> Outcome:
        """The newest."""
        return self._outcome

    def give(self, order: Order) -> None:
        """Have an order carried, soon."""
        with self._condition:
            self._next = order
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._next is not None)
                order, self._next = self._next, None
            assert order is not None
            before, self._outcome = self._outcome, self._carry(order)
            if str(self._outcome) != str(before):
                self._changed()

    def _carry(self, order: Order) -> Outcome:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIME_LIMIT)
                connection.connect(str(self._path))
                send(connection, encode_order(order), time_limit=TIME_LIMIT)
                answer = read_until(connection, b"\n", limit=MAX_REPORT, time_limit=TIME_LIMIT)
            return Outcome(report=decode_report(answer))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            return Outcome(
                error=ClusterError(
                    f"the supervisor of roles does not answer: {reason}",
                    hint="see: systemctl status clusteros-roles",
                )
            )
        except ClusterError as error:
            return Outcome(error=error)
