# SPDX-License-Identifier: Apache-2.0
"""What runs on Raft's tick thread: the replica, the state machine, and the commands on their way."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Generic

from agent import files
from agent.election import storage
from agent.election.interfaces import NEVER_COMMITTED, SUCCESS, Answer, Node
from agent.election.journal import Memory
from agent.election.machine import Applied, Machine, S, View
from agent.election.network import Link
from agent.election.pending import Commit, Commits, Outcome
from agent.election.replica import Replica
from agent.election.snapshot_format import Snapshot
from agent.election.snapshots import Snapshots
from agent.election.timing import Timing
from agent.errors import ClusterError

_log = logging.getLogger(__name__)


class Engine(Generic[S]):
    """`run` is the thread. What has no underscore is for any thread, the rest for that one."""

    def __init__(
        self,
        machine: Machine[S],
        link: Link,
        timing: Timing,
        *,
        folder: Path | None,
        fresh: bool,
        changed: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.applied: Applied[S] | None = None
        self.view = View()
        self.numbers = 0, 0  # term, commit index
        self.fault: ClusterError | None = None
        self._machine, self._timing, self._changed, self._clock = machine, timing, changed, clock
        self._leader_since: float | None = None
        self._seen: tuple[View, Applied[S] | None] = self.view, None
        self._commits = Commits()
        self._calls: deque[tuple[Callable[[Replica], None], Callable[[], None]]] = deque()
        self._lock = threading.Lock()
        self._stopping = self._ended = False
        with ExitStack() as stack:
            self._replica = self._open(link, folder, fresh, stack)
            self._held = stack.pop_all()

    def call(self, function: Callable[[Replica], None], otherwise: Callable[[], None]) -> None:
        """Have `function` run on the tick thread, or `otherwise` when that has ended."""
        with self._lock:
            if not self._ended:
                self._calls.append((function, otherwise))
                self._replica.wake()
                return
        otherwise()

    def commit(self, commit: Commit) -> None:
        self.call(lambda _: self._commits.add(commit), lambda: commit.done(Outcome.REFUSED, None))

    def ask(self, commit: Commit, question: Callable[[Replica, Answer], None]) -> None:
        """Put one question that is not repeated; its answer ends `commit`."""

        def put(replica: Replica) -> None:
            self._commits.add(commit)
            question(replica, partial(self._answered, commit, again=False))

        commit.given = True
        self.call(put, lambda: commit.done(Outcome.REFUSED, None))

    def stop(self) -> None:
        self._stopping = True
        self.call(lambda _: None, lambda: None)

    def run(self) -> None:
        fault = None
        try:
            while not self._stopping:
                self._give()
                self._replica.tick()
                self._publish()
        except ClusterError as error:
            fault = error
        except Exception:
            _log.exception("Raft ended by an error of its own")
            fault = ClusterError("Raft ended by an error of its own", hint="see: node-agent support")
        with self._lock:
            self._ended = True
            self._replica.close()
        for _, otherwise in self._calls:
            otherwise()
        self._commits.end_all()
        self._held.close()
        self.view, self.fault = View(), fault
        self._tell()

    def _open(self, link: Link, folder: Path | None, fresh: bool, stack: ExitStack) -> Replica:
        journal, snapshot, path, voters = Memory(), None, None, frozenset(link.guests)
        if folder is not None:
            files.make_folder(folder, mode=0o700)
            stack.enter_context(files.lock(folder))
            stored = storage.open_stored(folder, fresh=fresh)
            stack.callback(stored.journal._destroy)
            journal, snapshot, path = stored.journal, stored.snapshot, folder / "snapshot"
            voters = stored.voters or voters - {link.me}
            if not voters:
                # PySyncObj would elect itself at once: a second cluster.
                raise ClusterError("no voter is known whom this node could follow")
        if snapshot is not None:
            try:
                self._check(snapshot)
            except ClusterError as error:
                raise ClusterError(f"{path}: {error.message}", hint=storage.LOST) from None
        return Replica(
            link,
            voters,
            journal,
            Snapshots(path, snapshot, take=self._take, put=self._put, check=self._check),
            self._timing,
            apply=self._apply,
            changed=self._role_changed,
            clock=self._clock,
        )

    def _give(self) -> None:
        """Do what was called for, and give the leader, if one is known, the commands that wait."""
        while self._calls:
            function, _ = self._calls.popleft()
            function(self._replica)
        waiting = self._commits.to_give(self._clock())
        if waiting and self._replica.leader is not None:
            for commit in waiting:
                commit.given = True
                self._replica.submit(commit.data, partial(self._answered, commit, again=True))

    def _answered(self, commit: Commit, result: object, reason: int, *, again: bool) -> None:
        if reason == SUCCESS:
            self._commits.end(commit, Outcome.COMMITTED, result)
        elif reason not in NEVER_COMMITTED:
            self._commits.end(commit, Outcome.UNKNOWN, None)
        elif again:
            commit.given = False
        else:
            self._commits.end(commit, Outcome.REFUSED, None)

    def _apply(self, data: bytes) -> object:
        if self.applied is None:
            raise ClusterError("Raft has a command, but not the state that it is for")
        try:
            state, result = self._machine.reduce(self.applied.state, data)
        except Exception:
            # As pure as `reduce` is, it fails everywhere alike: all go on with the state that they have.
            _log.exception("a command makes the ledger fail; it changes nothing")
            return None
        self.applied = Applied(state, self._clock())
        return result

    def _take(self) -> tuple[Iterable[str], bytes]:
        if self.applied is None:
            raise ClusterError("no state is known yet")
        return self._replica.voters_at(self._replica.raftLastApplied), self._machine.encode(
            self.applied.state
        )

    def _check(self, snapshot: Snapshot) -> None:
        """Refuse a snapshot that cannot be read, or that is older than what this node has."""
        self._machine.decode(snapshot.state)
        if self.applied is not None and snapshot.last[1] <= self._replica.raftLastApplied:
            raise ClusterError("it is older than the state that this node has")

    def _put(self, snapshot: Snapshot) -> list[Node]:
        self.applied = Applied(self._machine.decode(snapshot.state), self._clock())
        return self._replica.install(snapshot)

    def _role_changed(self, role: str) -> None:
        self._leader_since = self._clock() if role == "leader" else None

    def _publish(self) -> None:
        replica = self._replica
        view = View(
            role=replica.role,
            leader=replica.leader,
            leader_since=self._leader_since,
            voters=replica.voters,
            connected=replica.connected,
            ready=replica.ready and self.applied is not None,
        )
        self.numbers = replica.raftCurrentTerm, max(replica.raftCommitIndex, replica.raftLastApplied)
        if (view, self.applied) != self._seen:
            self._seen, self.view = (view, self.applied), view
            self._tell()

    def _tell(self) -> None:
        try:
            self._changed()
        except Exception:
            _log.exception("the callback for changes of Raft failed")
