# SPDX-License-Identifier: Apache-2.0
"""Send what changes in a role's state to one voter: a thread each, so that a slow one holds up no other."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from agent.copies.followed import Followed
from agent.copies.link import Link, call
from agent.copies.message import Commit, Fence, Held, Stored
from agent.copies.tree import Mark, compare
from agent.copies.version import Version
from agent.errors import ClusterError

AGAIN = 0.5
"""Seconds before a voter that could not be reached is tried again."""
_log = logging.getLogger("copies")


class Sender:
    """To `host`. `show` tells it of the files; `behind` says for how long the voter lacks some of it."""

    def __init__(self, followed: Followed, host: str, number: Callable[[], Version]) -> None:
        """`number` gives the version of what is sent next."""
        self._followed = followed
        self.host = host
        self._number = number
        self.taken = 0
        """The last look of which the voter has all."""
        self._look = 0
        self._wanted: Mapping[str, Mark] | None = None
        self._has: Mapping[str, Mark] | None = None  # None: it gets everything
        self._since: float | None = time.monotonic()  # the first change that the voter lacks
        self._condition = threading.Condition()
        self._ending = False
        self._link: Link | None = None
        self._held: Version | None = None
        self._reachable = True
        self._thread = threading.Thread(target=self._run, name=f"to {host}", daemon=True)
        self._thread.start()

    def show(self, files: Mapping[str, Mark], look: int) -> None:
        """Say what there is now, as `scan` has it; `look` numbers the looks, from 1."""
        with self._condition:
            self._wanted, self._look = files, look
            if files == self._has:
                self.taken = look
            elif self._since is None:
                self._since = time.monotonic()
            self._condition.notify_all()

    def behind(self, now: float) -> float:
        """Return for how many seconds (of CLOCK_MONOTONIC) the voter has lacked something; 0: it has all."""
        since = self._since
        return now - since if since is not None else 0.0

    def wait_even(self, until: float) -> bool:
        """Wait until the voter has all, at most until `until` (CLOCK_MONOTONIC); tell whether it has."""
        with self._condition:
            return self._condition.wait_for(
                lambda: self._since is None, timeout=max(0.0, until - time.monotonic())
            )

    def end(self) -> None:
        """Send no more."""
        with self._condition:
            self._ending = True
            self._condition.notify_all()
        link = self._link
        if link is not None:
            link.close()

    def _run(self) -> None:
        while not self._ending:
            try:
                self._send()
            except (OSError, ValueError, ClusterError) as error:
                # ValueError: the connection was closed under it.
                if self._reachable and not self._ending:
                    self._reachable = False
                    _log.warning("%s gets no copy: %s", self.host, error)
                self._disconnect()
                with self._condition:
                    self._has = None
                    self._since = self._since if self._since is not None else time.monotonic()
                    self._condition.wait_for(lambda: self._ending, timeout=AGAIN)

    def _send(self) -> None:
        """Wait for changes, and send them."""
        with self._condition:
            self._condition.wait_for(lambda: self._ending or self._lacks())
            if self._ending:
                return
            wanted, look, began = self._wanted, self._look, time.monotonic()
        assert wanted is not None
        link = self._link or self._connect()
        version, base = self._number(), self._held if self._has is not None else None
        for name in compare(self._has or {}, wanted):
            link.put(self._followed.folder, name)
        link.say(Commit(version, base))
        stored = link.expect(Stored)
        if not stored.taken:
            raise ClusterError(f"it does not take them; it has {stored.held}")
        self._held = version
        if not self._reachable:
            _log.info("%s gets copies again", self.host)
        self._reachable = True
        with self._condition:
            self._has, self.taken = wanted, look
            self._since = began if self._lacks() else None
            self._condition.notify_all()

    def _lacks(self) -> bool:
        return self._wanted is not None and self._wanted != self._has

    def _connect(self) -> Link:
        link = call(self.host, self._followed.port, self._followed.secret)
        self._link = link
        # What it has is of no interest: it gets everything.
        link.say(Fence(self._number().epoch))
        link.expect(Held)
        return link

    def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
