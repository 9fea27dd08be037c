# SPDX-License-Identifier: Apache-2.0
"""Raft itself: PySyncObj's algorithm over our own journal, snapshots and transport.

The one module that imports PySyncObj. What is taken from its version 0.3.17 is the Raft of syncobj.py. What
is replaced, and why, stands in journal.py, snapshots.py, transport.py and log_matching.py. Where it has no
way in, its private methods are overridden under their mangled names, each with its reason;
tests/cluster/test_raft*.py tell when another version behaves otherwise.
"""

import _socket
import random
import socket
from collections.abc import Callable, Iterable
from typing import Any

from pysyncobj import syncobj
from pysyncobj.config import SyncObjConf
from pysyncobj.node import Node as make_node

from agent.election import command, log_matching
from agent.election.hearing import may_say
from agent.election.interfaces import DENIED, ROLES, Answer, Node
from agent.election.journal import Memory
from agent.election.message import Message
from agent.election.network import Link
from agent.election.snapshot_format import Snapshot
from agent.election.snapshots import Snapshots
from agent.election.storage import voters_at
from agent.election.timing import Timing
from agent.election.transport import Transport
from agent.election.wakeup import Wakeup

# PySyncObj's module for Windows puts a function of its own in this place on every system: who imports
# `inet_ntop` after it, as pyroute2 does, could write no address any more.
socket.inet_ntop = _socket.inet_ntop
# The configuration brings the journal itself.
syncobj.createJournal = lambda journal: journal
syncobj.PipeNotifier = Wakeup


class Replica(syncobj.SyncObj):  # type: ignore[misc]
    """One node's part in Raft. All of it runs on one thread, that calls `tick`."""

    def __init__(
        self,
        link: Link,
        voters: Iterable[str],
        journal: Memory,
        snapshots: Snapshots,
        timing: Timing,
        *,
        apply: Callable[[bytes], Any],
        changed: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """`apply` runs each committed command, `changed` hears the new role."""
        self._link, self._timing, self._clock = link, timing, clock
        self._journal, self._snapshots, self._apply = journal, snapshots, apply
        self._SyncObj__raftElectionDeadline = 0.0  # set by PySyncObj
        self._met = False  # some leader, since this replica started
        self._clearing = False
        self._fresh = snapshots.newest is None
        conf = SyncObjConf(
            journalFile=journal,
            fullDumpFile=snapshots.path and str(snapshots.path),
            onStateChanged=lambda _, new: changed(ROLES[new]),
            **timing.settings(),
        )
        super().__init__(
            make_node(link.me) if link.votes else None,
            [make_node(voter) for voter in voters if voter != link.me],
            conf,
            nodeClass=make_node,
            transportClass=self._make_transport,
        )
        self._SyncObj__serializer = snapshots
        if self.voters == {link.me}:
            self._hasten(0)

    def close(self) -> None:
        self.destroy()
        self._SyncObj__pipeNotifier.close()

    @property
    def role(self) -> str:
        return ROLES[self._SyncObj__raftState] if self._link.votes else "observer"

    @property
    def leader(self) -> str | None:
        """Address of the leader, when there is a connection to it (or this node is it)."""
        leader = self._getLeader()
        if leader is None or (leader.id != self._link.me and not self.isNodeConnected(leader)):
            return None
        return str(leader.id)

    @property
    def voters(self) -> frozenset[str]:
        mine = {self._link.me} if self._link.votes else set()
        return frozenset({node.id for node in self.otherNodes} | mine)

    @property
    def connected(self) -> frozenset[str]:
        """Addresses of the other voters with a connection."""
        return frozenset(node.id for node in self.otherNodes if self.isNodeConnected(node))

    @property
    def ready(self) -> bool:
        """Whether all is applied that was committed when this replica started, or began to lead."""
        if self.role != "leader":
            return bool(self.isReady())
        position = self.raftLastApplied - self._journal.entries[0][1]
        return bool(self._journal.entries[position][2] == self.raftCurrentTerm)

    def submit(self, data: bytes, answer: Answer) -> None:
        self._applyCommand(data, answer, command.REGULAR)

    def submit_change(self, verb: str, address: str, answer: Answer) -> None:
        """`add` or `rem` a voter; only at the leader."""
        if self.role != "leader":
            answer(None, DENIED)
            return
        self._applyCommand(command.change(verb, address), answer, command.MEMBERSHIP)

    def hand_over(self, address: str | None, answer: Answer) -> None:
        """Ask a voter that has all entries, `address` or any, to take over the lead."""
        self.transferLeadership(None if address is None else make_node(address), answer)

    def tick(self) -> None:
        """Do what is due, then wait until there is more: a message, the clock, `wake`."""
        leads = self.role == "leader"
        due = self._SyncObj__newAppendEntriesTime if leads else self._SyncObj__raftElectionDeadline
        self.doTick(self._timing.wait(due - syncobj.monotonicTime()))

    def wake(self) -> None:
        """End the wait of `tick`; from any thread."""
        self._SyncObj__pipeNotifier.notify()

    def meet(self, guests: frozenset[str]) -> None:
        """Take the addresses of voters that are known from elsewhere, in place of those told before."""
        self._SyncObj__transport.meet(guests)

    def install(self, snapshot: Snapshot) -> list[Node]:
        """Return who votes after `snapshot` and what the journal has behind it, as nodes."""
        # A snapshot of the leader takes the place of the whole journal.
        index = snapshot.last[1] if self._clearing else None
        return [make_node(voter) for voter in voters_at(snapshot, self._journal, index)]

    def voters_at(self, index: int) -> frozenset[str]:
        """Return who votes by the log up to the entry `index`."""
        newest = self._snapshots.newest
        return self.voters if newest is None else voters_at(newest, self._journal, index)

    def _make_transport(self, _: object, __: object, voters: Iterable[Node]) -> Transport:
        transport = Transport(
            self._link,
            self._poller,
            voters,
            sync=self._journal.sync,
            deliver=self._deliver,
            make_node=make_node,
            clock=self._clock,
        )
        self.addOnTickCallback(transport.tick)
        return transport

    def _deliver(self, node: Node, message: Message) -> None:
        """Let through what the sender may say to PySyncObj."""
        kind = message["type"]
        if not may_say(
            kind,
            observer=node.id.startswith("observer"),
            votes=node in self.otherNodes,
            known=self._SyncObj__transport.knows(node),
            fresh=self._is_fresh(),
        ):
            return
        if kind == "next_node_idx":
            if message["term"] != self.raftCurrentTerm or node not in self._SyncObj__raftMatchIndex:
                return
        elif kind == "append_entries":
            self._met = True
            if "entries" in message:
                message, last = log_matching.trim(message, self._journal.entries)
                if last is not None:
                    with self._journal.up_to(last):
                        self._SyncObj__onMessageReceived(node, message)
                    return
        self._SyncObj__onMessageReceived(node, message)

    def _is_fresh(self) -> bool:
        """Tell whether this node was started to get its first vote, and its log does not say so yet."""
        if self._fresh and (newest := self._snapshots.newest) is not None:
            self._fresh = self._link.me not in voters_at(newest, self._journal, None)
        return self._fresh

    # PySyncObj's private methods.

    def _SyncObj__doApplyCommand(self, data: bytes) -> object:
        """Run a committed command. The original unpickles it, and changes who votes again, out of order."""
        return self._apply(data[1:]) if command.is_regular(data) else None

    def _SyncObj__parseChangeClusterRequest(self, data: bytes) -> tuple[str, str] | None:
        """Read a change of who votes. The original unpickles it."""
        return command.parse_change(data)

    def _SyncObj__changeCluster(self, request: tuple[str, str]) -> bool:
        """Begin a change of who votes. The original does not see that another one is under way."""
        committed = self.raftCommitIndex
        if any(entry[1] > committed and command.parse_change(entry[0]) for entry in self._journal.entries):
            return False
        return bool(super()._SyncObj__changeCluster(request))

    def _SyncObj__sendNextNodeIdx(
        self, node: Node, reset: bool = False, nextNodeIdx: int | None = None, success: bool = False
    ) -> None:
        """Answer `append_entries`. The original does not tell in which term."""
        if nextNodeIdx is None:
            nextNodeIdx = self._journal.entries[-1][1] + 1
        self._SyncObj__transport.send(
            node,
            {
                "type": "next_node_idx",
                "next_node_idx": nextNodeIdx,
                "reset": reset,
                "success": success,
                "term": self.raftCurrentTerm,
            },
        )

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:
        self._clearing = clearJournal
        super()._SyncObj__loadDumpFile(clearJournal)

    def _SyncObj__onNodeConnected(self, node: Node) -> None:
        """Let the voter with the lowest address stand early for election: all are there, none leads."""
        super()._SyncObj__onNodeConnected(node)
        voters = self.voters
        if not self._met and self._link.me == min(voters) and len(self.connected) + 1 == len(voters):
            self._hasten(2 * self._timing.heartbeat)

    def _SyncObj__onNodeDisconnected(self, node: Node) -> None:
        """Stand for election soon when the leader's program has ended, which its kernel tells at once."""
        super()._SyncObj__onNodeDisconnected(node)
        if node == self._getLeader():
            self._hasten(self._timing.hang_up * random.uniform(1, 5))  # noqa: S311 - spreads, hides nothing

    def _hasten(self, seconds: float) -> None:
        # A leader that is heard meanwhile postpones the election again.
        deadline = syncobj.monotonicTime() + seconds
        self._SyncObj__raftElectionDeadline = min(self._SyncObj__raftElectionDeadline, deadline)
