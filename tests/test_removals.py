# SPDX-License-Identifier: Apache-2.0
"""A removal waits until Raft's majority can do without the node, and is refused when that does not come."""

from dataclasses import replace
from typing import cast

import pytest

from agent.cluster import Peer, RaftStatus
from agent.election.removal import find_obstacle
from agent.membership import commands
from agent.membership.secrets import NodeSecrets
from agent.service.consensus import Consensus, Done
from agent.service.membership import Membership
from agent.service.removing import LIMIT, Removing
from tests.small_cluster import ADMISSION, FOUNDERS, GOSSIP_KEY, NODES, RAFT_PASSWORD, Log, make_genesis

A, B, C = FOUNDERS
JOINER = NODES[4]
LEDGER = Log(make_genesis()).ledger
STATUS = RaftStatus("leader", A, 1, 1, FOUNDERS, (B, C), True)
NO_MAJORITY = f"without {B} only 1 of 3 votes would be left, which is no majority"


@pytest.mark.parametrize(
    ("why", "raft", "named", "alive", "obstacle"),
    [
        ("two of three are left", (A, B, C), (A, B, C), (A, B, C), ""),
        ("it is away itself", (A, B, C), (A, B, C), (A, C), ""),
        ("another is away", (A, B, C), (A, B, C), (A, B), NO_MAJORITY),
        ("another was removed just now", (A, B, C), (A, B), (A, B, C), NO_MAJORITY),
        ("it has no vote", (A, C, JOINER), (A, C, JOINER), (A, B), ""),
        ("it is not in Raft yet", (A,), (A, B), (A, B), ""),
        ("it is not in Raft any more", (A,), (A,), (A, B), ""),
        ("the other one could not even be elected", (A, B), (A, B), (A, B), "1 of 2 votes"),
    ],
)
def test_when_b_can_be_removed(
    why: str, raft: tuple[str, ...], named: tuple[str, ...], alive: tuple[str, ...], obstacle: str
) -> None:
    found = find_obstacle(replace(LEDGER, voters=named), replace(STATUS, voters=raft), alive, B)
    assert bool(found) == bool(obstacle), why
    assert obstacle in found


def test_without_a_leader_the_commit_tells_and_who_is_new_waits() -> None:
    assert find_obstacle(LEDGER, replace(STATUS, leader=None), (A,), B) == ""
    assert "does not know yet" in find_obstacle(LEDGER, replace(STATUS, ready=False), FOUNDERS, B)


class Cluster:
    """A ledger to which commands are committed when the test says so, and Raft's own list beside it."""

    def __init__(self) -> None:
        self.log = Log(make_genesis())
        self.status = STATUS
        self.removing = Removing(A, cast("Consensus", self))
        self.alive = {*FOUNDERS}
        self.said: list[tuple[str, bool, str]] = []
        self._flying: list[tuple[bytes, Done]] = []

    def commit(self, command: bytes, done: Done) -> None:
        self._flying.append((command, done))

    def ask(self, node: str, now: float = 0.0) -> None:
        def done(applied: bool, reason: str) -> None:
            self.said.append((node, applied, reason))

        self.removing.ask(node, done, now)

    def look(self, now: float) -> list[tuple[str, bool, str]]:
        """Look, have all be committed that was begun, and return what was said."""
        secrets = NodeSecrets(self.log.ledger.genesis, 1, GOSSIP_KEY, RAFT_PASSWORD, ADMISSION)
        membership = Membership(b"", make_genesis(), self.log.ledger, secrets)
        peers = [Peer(n, n, "", "", n in self.alive, "m", None, 0, (), voter=True, seen=0.0) for n in NODES]
        self.removing.look(membership, peers, now)
        flying, self._flying = self._flying, []
        for command, answer in flying:
            result = self.log.take(command)
            answer(result.applied, result.reason)
        said, self.said = self.said, []
        return said


def test_of_two_at_once_the_second_waits_until_raft_has_let_go_of_the_first() -> None:
    cluster = Cluster()
    cluster.ask(B)
    cluster.ask(C)
    assert cluster.look(0.0) == [(B, True, f"removed {B}")]
    assert cluster.look(1.0) == []
    assert cluster.log.ledger.voters == (A, C)
    # The leader has changed the list, then goes back to an odd number.
    cluster.status = replace(STATUS, voters=(A, C))
    assert cluster.look(2.0) == []
    cluster.log.apply(commands.set_voters([A]))
    assert cluster.look(3.0) == []
    cluster.status = replace(STATUS, voters=(A,))
    assert cluster.look(4.0) == [(C, True, f"removed {C}")]
    assert cluster.look(5.0) == []


def test_one_that_was_asked_for_elsewhere_at_the_same_time_is_seen() -> None:
    cluster = Cluster()
    cluster.ask(C)
    begun = cluster.log.ledger.voters
    cluster.log.apply(commands.remove(B, begun))
    stale = replace(STATUS, voters=begun)
    cluster.log.refuse(commands.remove(C, begun), "others have a vote by now")
    cluster.status = stale
    assert cluster.look(1.0) == []
    assert C in cluster.log.ledger.members


def test_who_is_needed_is_not_removed_and_others_are_not_kept_waiting() -> None:
    cluster = Cluster()
    cluster.log.admit(JOINER)
    cluster.alive = {A, B}
    cluster.ask(B)
    assert cluster.look(0.0) == []
    cluster.ask(JOINER, LIMIT - 1)
    assert cluster.look(LIMIT - 1) == [(JOINER, True, f"removed {JOINER}")]
    assert cluster.look(LIMIT) == [(B, False, NO_MAJORITY)]
    assert cluster.look(LIMIT + 1) == []
    assert B in cluster.log.ledger.members


def test_what_the_ledger_refuses_is_told_at_once() -> None:
    cluster = Cluster()
    cluster.log.apply(commands.remove(B))
    cluster.ask(B)
    assert cluster.look(0.0) == [(B, False, f"{B} was removed already")]
