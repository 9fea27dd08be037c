# SPDX-License-Identifier: Apache-2.0
"""The end of the holder: brings the newest state here, then has what changes sent to the voters."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from agent.copies.adopt import adopt
from agent.copies.followed import Followed
from agent.copies.saves import is_saved, read_times
from agent.copies.sender import Sender
from agent.copies.tree import scan
from agent.copies.version import Version

PERIOD = 0.1
"""Seconds between two looks at the files."""
SHARE = 0.2
"""Of the time, at most, is spent looking: many files are looked at less often."""
ADOPT_AGAIN = 0.3
FLUSH = 1.0
"""Seconds at the end that the voters have to take what they lack: as long as a lease leaves for stopping."""
LATE = 2.0
"""Seconds that most voters may lack a change, before the log says so."""
_log = logging.getLogger("copies")


class Follower:
    """`ready` is called when the newest state is here. All but `stop` is for one thread."""

    def __init__(self, followed: Followed, voters: Sequence[str], ready: Callable[[], object]) -> None:
        self._followed = followed
        self._ready = ready
        self._voters = voters
        self._senders: tuple[Sender, ...] = ()
        self._stopping = threading.Event()
        self._number = 0
        self._numbers = threading.Lock()
        self._late = False
        self._looks = 0
        self._looked = threading.Condition()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping.set()

    def run(self) -> None:
        """Take over, then follow, until `stop`. ClusterError: this epoch is over, or a copy is damaged."""
        if not self._take_over():
            return
        self._senders = tuple(Sender(self._followed, host, self._next) for host in self._voters)
        pause = 0.0
        self._ready()
        while not self._stopping.wait(pause):
            pause = self._look()
        # What the role wrote while it stopped.
        self._look()
        until = time.monotonic() + FLUSH
        even = sum(sender.wait_even(until) for sender in self._senders)
        _log.info("ends; %d of %d voters have all", even, len(self._senders))
        for sender in self._senders:
            sender.end()

    def settle(self, since: float, patience: float) -> bool:
        """Wait until most voters have what the role knew at `since` (CLOCK_BOOTTIME); tell whether they do.

        For any thread. At most `patience` seconds.
        """
        until = time.monotonic() + patience
        with self._looked:
            if not self._wait(lambda: self._is_saved(since), until):
                return False
            # A look that begins from now on sees it.
            look = self._looks + 1
            return self._wait(lambda: self._have_taken(look), until)

    def _wait(self, condition: Callable[[], bool], until: float) -> bool:
        """Wait with `_looked`, that is: `condition` is looked at once a look."""

        def over() -> bool:
            return self._stopping.is_set() or condition()

        left = max(0.0, until - time.monotonic())
        return self._looked.wait_for(over, timeout=left) and not self._stopping.is_set()

    def _is_saved(self, since: float) -> bool:
        saves = self._followed.saves
        if saves is None:
            return True
        return is_saved(since, *read_times(saves, self._followed.folder))

    def _have_taken(self, look: int) -> bool:
        return 2 * sum(sender.taken >= look for sender in self._senders) > len(self._voters)

    def _take_over(self) -> bool:
        said = ""

        def say(what: str) -> None:
            nonlocal said
            if what != said:
                said = what
                _log.info("%s", what)

        while not self._stopping.is_set():
            newest = adopt(self._followed, self._voters, say)
            if newest is not None:
                # Later than whatever an earlier run of this epoch has sent, also to who did not answer.
                known = newest.number if newest.epoch == self._followed.epoch else 0
                self._number = max(known, time.time_ns() // 1000)
                return True
            self._stopping.wait(ADOPT_AGAIN)
        return False

    def _look(self) -> float:
        """Show the senders what there is; return for how long not to look again."""
        began = time.monotonic()
        with self._looked:
            self._looks += 1
            look = self._looks
        now = scan(self._followed.folder, self._followed.ignored)
        for sender in self._senders:
            sender.show(now, look)
        self._report(began)
        with self._looked:
            self._looked.notify_all()
        return max(PERIOD, (time.monotonic() - began) / SHARE)

    def _next(self) -> Version:
        with self._numbers:
            self._number += 1
            return Version(self._followed.epoch, self._number)

    def _report(self, now: float) -> None:
        behind = sorted(sender.behind(now) for sender in self._senders)
        late = bool(behind) and behind[len(behind) // 2] > LATE
        if late != self._late:
            self._late = late
            text = "most voters lack what changed" if late else "most voters have what changed"
            (_log.warning if late else _log.info)("%s", text)
