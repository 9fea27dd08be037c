# SPDX-License-Identifier: Apache-2.0
"""Ends the wait of a poller from another thread. Owns one event file descriptor (eventfd(2))."""

import os
from contextlib import suppress

from agent.election.interfaces import READ, Poller


class Wakeup:
    """In place of pysyncobj.PipeNotifier, which never closes its pipe."""

    def __init__(self, poller: Poller) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller = poller
        poller.subscribe(self._fd, self._drain, READ)

    def notify(self) -> None:
        os.eventfd_write(self._fd, 1)

    def close(self) -> None:
        self._poller.unsubscribe(self._fd)
        os.close(self._fd)

    def _drain(self, _: int, __: int) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._fd)
