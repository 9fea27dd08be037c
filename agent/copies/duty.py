# SPDX-License-Identifier: Apache-2.0
"""Follow the state of a role while the role is here. Owns `ready`; clusteros-follow writes `wanted`."""

import logging
import threading
from pathlib import Path

from agent import files
from agent.copies.follow import Follower
from agent.copies.followed import Followed
from agent.errors import ClusterError

PERIOD, IDLE = 0.1, 0.3
"""Seconds between two looks at what is wanted; the second while nothing is."""
AGAIN = 1.0
"""Seconds after which what failed is tried again."""
_log = logging.getLogger("copies")


class Duty:
    """`run` works until `stop`, which may be called from a signal handler."""

    def __init__(
        self,
        folder: Path,
        followed: Followed,
        voters: tuple[str, ...],
    ) -> None:
        """`followed`: what is the same for every epoch; its own does not matter."""
        self._wanted = folder / "wanted"
        self._ready = folder / "ready"
        self._followed = followed
        self._voters = voters
        self._stopping = threading.Event()
        self._follower: Follower | None = None

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping.set()

    def settle(self, since: float, patience: float) -> bool:
        """As Follower.settle; no when nothing is followed here. For any thread."""
        follower = self._follower
        return follower is not None and follower.settle(since, patience)

    def run(self) -> None:
        """Do what is wanted."""
        files.remove(self._ready)
        while not self._stopping.wait(IDLE):
            epoch = self._read()
            if epoch:
                self._follow(epoch)

    def _follow(self, epoch: int) -> None:
        """Follow under one epoch, as long as it is the one that is wanted."""
        follower = Follower(self._followed.under(epoch), self._voters, lambda: self._tell(epoch))
        self._follower = follower
        failed = threading.Event()

        def work() -> None:
            try:
                follower.run()
            except ClusterError as error:
                _log.error("%s", error.message)
                failed.set()

        thread = threading.Thread(target=work, name=f"epoch {epoch}", daemon=True)
        thread.start()
        while not failed.is_set() and self._read() == epoch and not self._stopping.wait(PERIOD):
            pass
        follower.stop()
        thread.join()
        self._follower = None
        files.remove(self._ready)
        if failed.is_set():
            self._stopping.wait(AGAIN)

    def _tell(self, epoch: int) -> None:
        files.replace(self._ready, f"{epoch}\n".encode(), mode=0o644)

    def _read(self) -> int:
        """Return the epoch that is wanted; 0 for none."""
        try:
            return int(self._wanted.read_text())
        except (OSError, ValueError):
            return 0
