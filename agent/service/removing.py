# SPDX-License-Identifier: Apache-2.0
"""Has nodes removed, each as soon as Raft's majority can do without it (agent/election/removal.py)."""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.cluster import Peer
from agent.election.removal import find_obstacle
from agent.membership import commands
from agent.membership import ledger as ledgers
from agent.membership.ledger_members import VOTERS_CHANGED
from agent.service.consensus import Consensus, Done
from agent.service.membership import Membership

LIMIT = 12.0
"""Seconds after which a removal that has to wait is refused; whoever asked waits no longer than 20."""


@dataclass(frozen=True)
class _Removal:
    node: str
    done: Done
    ends: float


class Removing:
    """All on the loop's thread."""

    def __init__(self, me: str, consensus: Consensus) -> None:
        self._me, self._consensus = me, consensus
        self._waiting: list[_Removal] = []

    def ask(self, node: str, done: Done, now: float) -> None:
        """Have a node removed at the next `look` that can; `done` hears what became of it."""
        self._waiting.append(_Removal(node, done, now + LIMIT))

    def look(self, membership: Membership, peers: Iterable[Peer], now: float) -> None:
        """Begin what can be begun, and refuse what never can, or could not for too long."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        alive = {self._me, *(peer.node_id for peer in peers if peer.alive)}
        ledger = membership.ledger
        for removal in waiting:
            command = commands.remove(removal.node, ledger.voters)
            result = ledgers.reduce(ledger, command, membership.genesis)[1]
            obstacle = find_obstacle(ledger, self._consensus.status, alive, removal.node)
            if not result.applied:
                removal.done(False, result.reason)
            elif not obstacle:
                self._consensus.commit(command, self._answer(removal))
            elif now < removal.ends:
                self._waiting.append(removal)
            else:
                removal.done(False, obstacle)

    def _answer(self, removal: _Removal) -> Done:
        def done(applied: bool, reason: str) -> None:
            if reason == VOTERS_CHANGED:
                self._waiting.append(removal)
            else:
                removal.done(applied, reason)

        return done
