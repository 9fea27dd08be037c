# SPDX-License-Identifier: Apache-2.0
"""A node's end of the replicated ledger: start, commit, change who votes, look, stop.

Raft runs on a thread of its own, the tick thread. The methods may be called from any thread, and none waits
but `stop`. Callbacks run on the tick thread and must only note what they are told: an event to set, a queue.

A voter keeps its log in a folder (agent/election/storage.py). An observer follows without a vote, keeps
nothing, and commits through the leader as voters do. To change from one to the other, stop and start again:

- an observer that the ledger names as a voter, and Raft does not: as a voter, `fresh`; the leader adds it.
- an observer that Raft has among its voters: as a voter, not fresh.
- a voter that the ledger no longer names, or that has had no leader for long while others are seen to have
  one: as an observer, with the voters that gossip tells. Not to vote for a while is always safe.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic

from agent.cluster import RaftStatus
from agent.election import address, storage
from agent.election.channel import check_password
from agent.election.engine import Engine
from agent.election.machine import Applied, Machine, S
from agent.election.message import MAX_COMMAND
from agent.election.network import Link
from agent.election.pending import Commit, Done, Outcome
from agent.election.timing import Timing
from agent.errors import ClusterError

__all__ = ["Applied", "Machine", "Outcome", "Raft", "Timing", "exists", "found", "recover"]
_log = logging.getLogger(__name__)
_DEFAULT = Timing()


def exists(folder: Path) -> bool:
    """Tell whether this node has, or had, a vote."""
    return storage.exists(folder)


def found(
    folder: Path, machine: Machine[S], state: S, voters: tuple[str, ...], *, port: int = address.PORT
) -> None:
    """Begin the log of a new cluster with `state` and `voters` (hosts); every one of them does the same.

    Before the first start, and never again: ClusterError when the folder holds a log.
    """
    storage.found(folder, machine.encode(state), tuple(address.join(voter, port) for voter in voters))


def recover(folder: Path, machine: Machine[S], state: S, host: str, *, port: int = address.PORT) -> None:
    """Begin a log in which this node, at `host`, alone has a vote, in place of what is there.

    For a quorum that is lost for good. The password has to change with it: the others, if they come back,
    still have their majority by the old log.
    """
    storage.recover(folder, machine.encode(state), address.join(host, port))


class Raft(Generic[S]):
    """A replica that runs. Hosts are mesh IPv4 addresses, times seconds."""

    def __init__(
        self,
        machine: Machine[S],
        host: str,
        voters: tuple[str, ...],
        password: str,
        *,
        folder: Path | None,
        fresh: bool = False,
        port: int = address.PORT,
        timing: Timing = _DEFAULT,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at `host`: with a `folder` as a voter, without as an observer.

        `voters`: hosts of the voters that are known from elsewhere, see `meet`; the log counts.
        `password`: 32 random bytes in base64. `fresh`: see storage.open_stored. `changed` is called after
        each change of state, role, leader, voters or connections. ClusterError when the log is damaged or
        missing, another process has the folder, or the address cannot be had.
        """
        check_password(password)
        self._port, self._machine, self._clock = port, machine, clock
        self._names: tuple[Applied[S] | None, Mapping[str, str]] = None, {}
        known = frozenset(address.join(voter, port) for voter in voters)
        link = Link(address.join(host, port), folder is not None, password, guests=known)
        self._engine = Engine(machine, link, timing, folder=folder, fresh=fresh, changed=changed, clock=clock)
        self._thread = threading.Thread(target=self._engine.run, name="raft", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and return when all is closed; not from a callback. Commands under way are told their fate."""
        self._engine.stop()
        self._thread.join()

    def meet(self, voters: tuple[str, ...]) -> None:
        """Tell the hosts of all voters that are known from elsewhere now: members that gossip as voters.

        A voter that was away while others came learns from one of them what the log says; Raft by itself
        hears only whom its own log knows.
        """
        guests = frozenset(address.join(voter, self._port) for voter in voters)
        self._engine.call(lambda replica: replica.meet(guests), lambda: None)

    def commit(self, data: bytes, done: Done, *, time_limit: float = 5.0) -> None:
        """Put a command into the log. `done` hears what became of it: once, within `time_limit`.

        ClusterError when `data` is longer than a command may be.
        """
        if len(data) >= MAX_COMMAND:
            raise ClusterError(f"a command of {len(data)} bytes is too long; at most {MAX_COMMAND - 1}")
        self._engine.commit(self._begin(data, done, time_limit))

    def add_voter(self, host: str, done: Done, *, time_limit: float = 10.0) -> None:
        """Give the node at `host` a vote: only at the leader, one change at a time, else REFUSED."""
        self._change("add", host, done, time_limit)

    def remove_voter(self, host: str, done: Done, *, time_limit: float = 10.0) -> None:
        """Take the vote of the node at `host`: as with `add_voter`, and a leader cannot remove itself."""
        self._change("rem", host, done, time_limit)

    def transfer_leadership(self, host: str | None, done: Done) -> None:
        """Ask the voter at `host` (None: any that has all entries) to lead. COMMITTED: it was asked."""
        there = None if host is None else address.join(host, self._port)
        self._engine.ask(
            self._begin(b"", done, 1.0), lambda replica, answer: replica.hand_over(there, answer)
        )

    def applied(self) -> Applied[S] | None:
        """Return the newest state, and since when it is known here; None until one is."""
        return self._engine.applied

    def status(self) -> RaftStatus:
        """Return where Raft stands. A voter that is no member is named by its host."""
        view, applied = self._engine.view, self._engine.applied
        of, names = self._names
        if applied is not None and of is not applied:
            names = self._machine.names(applied.state)
            self._names = applied, names

        def name(there: str) -> str:
            host, _ = address.split(there)
            return names.get(host, host)

        term, commit_index = self._engine.numbers
        return RaftStatus(
            role=view.role,
            leader=None if view.leader is None else name(view.leader),
            term=term,
            commit_index=commit_index,
            voters=tuple(sorted(map(name, view.voters))),
            connected=tuple(sorted(map(name, view.connected))),
            ready=view.ready,
        )

    def leader_since(self) -> float | None:
        """Return since when (monotonic) this node leads; None when it does not."""
        return self._engine.view.leader_since

    def fault(self) -> ClusterError | None:
        """Return why Raft has ended by itself, as when the disk is full: `stop`, and start anew later."""
        return self._engine.fault

    def _change(self, verb: str, host: str, done: Done, time_limit: float) -> None:
        there = address.join(host, self._port)
        if not address.is_address(there):
            raise ClusterError(f"not a mesh address: {host[:40]!r}")
        self._engine.ask(
            self._begin(b"", done, time_limit),
            lambda replica, answer: replica.submit_change(verb, there, answer),
        )

    def _begin(self, data: bytes, done: Done, time_limit: float) -> Commit:
        def guarded(outcome: Outcome, result: object) -> None:
            # Whatever a callback does, the tick thread goes on.
            try:
                done(outcome, result)
            except Exception:
                _log.exception("the callback of a commit failed")

        return Commit(data, guarded, self._clock() + time_limit)
