# SPDX-License-Identifier: Apache-2.0
"""What wakes the loop: messages from other threads, and plain wake-ups.

Whatever runs on another thread (Serf's reader, Raft's tick, the control socket, mDNS) only puts something in
here. All state belongs to the loop.
"""

import queue
import time
from typing import Any

SETTLE = 0.004
"""Seconds for what comes together with the first message, as a commit's answer and the new ledger do: one
look is made for all, where each look takes milliseconds of processor time."""
MOST = 4096  # messages that wait; more are dropped, as each of them is repeated or observed again


class Inbox:
    """A bounded queue with one reader."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(MOST)

    def put(self, message: object) -> bool:
        """Leave a message for the loop; False when it was dropped."""
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            return False
        return True

    def wake(self, *_ignored: object) -> None:
        """Have the loop look again."""
        self.put(None)

    def take(self, until: float) -> list[Any]:
        """Return the messages that are there, waiting until `until` (monotonic) for the first one.

        Wake-ups are not returned, but they end the wait.
        """
        found = []
        try:
            found.append(self._queue.get(timeout=max(0.0, until - time.monotonic())))
            time.sleep(SETTLE)
            while True:
                found.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return [message for message in found if message is not None]
