# SPDX-License-Identifier: Apache-2.0
"""Who should vote: the next single step towards it. Pure.

Who votes stands in two places. The ledger names the voters, so that every member knows who is to be one. Raft
has its own list, by which it counts. A change goes through both, in this order:

    a vote is given   name in the ledger -> the node starts as a voter, and says so in gossip -> add to Raft
    a vote is taken   unname in the ledger -> remove from Raft -> the node goes on as an observer

so that a node that loses its vote has read so in the ledger before Raft stops talking to it. A leader that
loses its own vote hands the lead over first. One change at a time, as Raft demands (Ongaro, Consensus:
Bridging Theory and Practice, 4.1), and none that would leave the voters without a majority that is alive.

How many: the largest odd number that is wanted and can be had. A voter that has been dead for longer than
the grace makes room when another node can take its place; without one it stays counted, if it is the only
one: with two of three alive nothing is gained by giving up the third, and its copy of the log is lost. Of
five with two dead, three are left: these can lose one more, the five could not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from agent.cluster import Ledger, Peer, RaftStatus


@dataclass(frozen=True)
class Presence:
    """What gossip says of a node, see `see_members`. One of which nothing is said is dead since ever."""

    alive: bool
    since: float  # monotonic seconds
    voter: bool  # it says that it runs as a voter
    idle: float | None = None  # since when it is alive and does not run as one; None: it does, or is away


@dataclass(frozen=True)
class Limits:
    """In seconds."""

    grace: float = (
        300.0  # a voter may be away so long, for an update or a cable, before another takes its place
    )
    settled: float = 30.0  # a node has to be there so long before it takes another's place
    joined: float = 5.0  # or before it fills one that is empty: a lone voter's loss is everybody's


@dataclass(frozen=True)
class Step:
    """`name` and `unname` change the ledger's voters, `add` and `remove` Raft's, `transfer` who leads.

    `node`: node ID; for a voter of Raft that is no member any more, what the Raft status calls it.
    """

    kind: Literal["name", "unname", "add", "remove", "transfer"]
    node: str


@dataclass(frozen=True)
class VoterPlan:
    step: Step | None
    reason: str  # a sentence, also when there is nothing to do


LIMITS = Limits()
_UNSEEN = Presence(alive=True, since=0.0, voter=True)
_ABSENT = Presence(alive=False, since=float("-inf"), voter=False)


def see_members(
    before: Mapping[str, Presence], ledger: Ledger, peers: Iterable[Peer], *, me: str, now: float
) -> dict[str, Presence]:
    """Return what gossip says of each member but this node (`me`); `before` is what this returned last.

    A Serf that starts anew, as it does for a new key, knows nobody for some seconds. So who is not known is
    away from when that was noticed, and not since ever.
    """
    there = {
        peer.node_id: peer
        for peer in peers
        if peer.node_id in ledger.members and ledger.members[peer.node_id].hardware == peer.hardware
    }
    seen = {}
    for node in ledger.members.keys() - {me}:
        old, peer = before.get(node, _UNSEEN), there.get(node)
        if peer is None:
            seen[node] = Presence(alive=False, since=now if old.alive else old.since, voter=False)
        else:
            idle = (now if old.idle is None else old.idle) if peer.alive and not peer.voter else None
            seen[node] = Presence(peer.alive, peer.seen, peer.voter, idle)
    return seen


def plan_voters(
    ledger: Ledger,
    status: RaftStatus,
    presence: Mapping[str, Presence],
    *,
    me: str,
    now: float,
    limits: Limits = LIMITS,
) -> VoterPlan:
    """Return the next step for this node (`me`); only the leader has any. `presence` is by node ID."""
    if status.role != "leader" or not status.ready:
        return VoterPlan(None, "the leader looks after who votes")
    return _Voters(ledger, status, presence, me=me, now=now, limits=limits).plan()


def _largest_odd(number: int) -> int:
    return number - 1 + number % 2


class _Voters:
    def __init__(
        self,
        ledger: Ledger,
        status: RaftStatus,
        presence: Mapping[str, Presence],
        *,
        me: str,
        now: float,
        limits: Limits,
    ) -> None:
        self._ledger, self._me, self._now, self._limits = ledger, me, now, limits
        self._presence = {**presence, me: Presence(alive=True, since=float("-inf"), voter=True)}
        self._raft, self._named = set(status.voters), set(ledger.voters)
        self._connected = {*status.connected, me}

    def plan(self) -> VoterPlan:
        for decide in (self._take, self._give, self._renew):
            if (decided := decide()) is not None:
                return decided
        return self._change_named()

    def _take(self) -> VoterPlan | None:
        """Take from Raft who is not named (any more)."""
        extra = sorted(self._raft - self._named, key=lambda node: (self._alive(node), node))
        if not extra:
            return None
        others = [node for node in extra if node != self._me]
        if not others:
            heirs = sorted(node for node in self._raft & self._named if node in self._connected)
            if not heirs:
                return VoterPlan(
                    None, "this node has no vote in the ledger, but there is nobody to lead instead"
                )
            return VoterPlan(
                Step("transfer", heirs[0]),
                "this node has no vote in the ledger any more: another has to lead",
            )
        node = others[0]
        if not self._has_majority(self._raft - {node}):
            return VoterPlan(None, f"{node} is to lose its vote, but too few of the others are alive")
        return VoterPlan(Step("remove", node), f"{node} has no vote in the ledger any more")

    def _give(self) -> VoterPlan | None:
        """Add to Raft who is named."""
        missing = sorted(self._named - self._raft)
        for node in missing:
            if self._alive(node) and self._of(node).voter:
                return VoterPlan(Step("add", node), f"{node} is ready to vote")
        for node in missing:
            # It has no vote yet, so nothing is lost; another one may be ready sooner.
            if not self._alive(node) and self._away(node) > self._limits.settled and len(self._named) > 1:
                return VoterPlan(Step("unname", node), f"{node} went away before it had its vote")
        if missing:
            return VoterPlan(None, f"waits until {missing[0]} runs as a voter")
        return None

    def _renew(self) -> VoterPlan | None:
        """Take the vote of a voter that has lost its log, and so does not use it: it may get a new one."""
        for node in sorted(self._named - {self._me}):
            idle = self._of(node).idle
            if self._alive(node) and idle is not None and self._now - idle > self._limits.settled:
                return self._unname(node, f"{node} is there and does not vote: it has lost its log")
        return None

    def _change_named(self) -> VoterPlan:
        """Ledger and Raft agree: see whether other voters are better."""
        dead = self._dead()
        spare = self._spare()
        living = len(self._named) - len(dead)
        target = max(
            1, _largest_odd(min(self._ledger.wanted_voters, living + len(spare) + min(1, len(dead))))
        )
        number = len(self._named)
        if number < target:
            return VoterPlan(Step("name", spare[0]), f"{number} of {target} voters: {spare[0]} becomes one")
        if number > target:
            if number <= _largest_odd(min(self._ledger.wanted_voters, living + self._count_coming())):
                return VoterPlan(None, f"{number} voters: one more is about to be there")
            node = (dead or self._dispensable())[0]
            why = "has been away for too long" if dead else "is not needed"
            return self._unname(node, f"{number} voters, {target} are to be: {node} {why}")
        if dead and spare:
            return self._unname(dead[0], f"{dead[0]} has been away for too long: {spare[0]} takes its place")
        return VoterPlan(None, f"{number} of {self._ledger.wanted_voters} wanted voters")

    def _unname(self, node: str, reason: str) -> VoterPlan:
        if not self._has_majority(self._named - {node}):
            return VoterPlan(None, f"{reason}; but too few of the others are alive")
        return VoterPlan(Step("unname", node), reason)

    def _dead(self) -> list[str]:
        """The voters that are dead for good, as far as one can tell: who is longest away first."""
        away = [
            node for node in self._named if not self._alive(node) and self._away(node) > self._limits.grace
        ]
        return sorted(away, key=lambda node: (self._of(node).since, node))

    def _spare(self) -> list[str]:
        """The members that could get a vote, the best first: on a machine of its own, long a member."""
        taken = {self._ledger.members[node].hardware for node in self._named if node in self._ledger.members}
        limits = self._limits
        there = limits.joined if len(self._named) < self._ledger.wanted_voters else limits.settled
        settled = [
            member
            for node, member in self._ledger.members.items()
            if node not in self._named and self._alive(node) and self._away(node) >= there
        ]
        ranked = sorted(settled, key=lambda member: (member.hardware in taken, member.number, member.node_id))
        return [member.node_id for member in ranked]

    def _count_coming(self) -> int:
        """How many members without a vote are there, though not for long yet, or away only for a moment."""
        others = self._ledger.members.keys() - self._named
        return sum(self._alive(node) or self._away(node) <= self._limits.settled for node in others)

    def _dispensable(self) -> list[str]:
        """The voters but the leader, least needed first: dead, then newest members."""
        members = self._ledger.members
        others = [node for node in self._named if node != self._me]
        return sorted(others, key=lambda node: (self._alive(node), -members[node].number, node))

    def _has_majority(self, voters: set[str]) -> bool:
        return 2 * sum(map(self._alive, voters)) > len(voters)

    def _alive(self, node: str) -> bool:
        return self._of(node).alive

    def _away(self, node: str) -> float:
        """How long the node has been alive, or dead."""
        return self._now - self._of(node).since

    def _of(self, node: str) -> Presence:
        return self._presence.get(node, _ABSENT)
