# SPDX-License-Identifier: Apache-2.0
"""Run joins beside the loop, as one may take as long as a TCP connection takes to fail.

Serf joins one address after the other (`joinLock` in serf/serf.go) and waits 10 s for one that is silent. So
each address is first tried here, a few at a time and not for long, by a TCP connection that says nothing,
which Serf takes without a word in its log.
"""

import socket
import threading
from collections.abc import Callable, Sequence

from agent.discovery.join_plan import AT_ONCE
from agent.errors import ClusterError

CONNECT_SECONDS = 2.0


class Joiner:
    """Joins by `join` (SerfRpc.join) and calls `on_result(address, error)`; an empty error is a success.

    `on_result` is called by a thread of its own; it must be quick and must not raise.
    """

    def __init__(self, join: Callable[[Sequence[str]], int], on_result: Callable[[str, str], None]) -> None:
        self._join = join
        self._on_result = on_result
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def start(self, address: str) -> bool:
        """Begin to join `address`; False when it is being joined, or too many are."""
        with self._lock:
            if address in self._running or len(self._running) >= AT_ONCE:
                return False
            self._running.add(address)
        threading.Thread(target=self._run, args=(address,), name="join", daemon=True).start()
        return True

    def _run(self, address: str) -> None:
        error = ""
        try:
            _knock(address)
            self._join([address])
        except ClusterError as failure:
            error = failure.message
        finally:
            with self._lock:
                self._running.discard(address)
        self._on_result(address, error)


def _knock(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ClusterError(f"nobody answers on {address}: {reason}") from None
