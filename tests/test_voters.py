# SPDX-License-Identifier: Apache-2.0
"""Who should vote: step by step, always to an end, never without a majority that is alive."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cluster import Ledger, Member, RaftStatus
from agent.election.voters import Limits, Presence, Step, VoterPlan, plan_voters

NOW = 10_000.0
ALIVE = Presence(True, 0.0, voter=False)
READY = Presence(True, 0.0, voter=True)
DEAD = Presence(False, 0.0, voter=False)
JUST_DEAD = Presence(False, NOW - 10, voter=False)
JUST_ALIVE = Presence(True, NOW - 10, voter=False)
NEW = Presence(True, NOW - 3, voter=False)


@dataclass(frozen=True)
class Cluster:
    """A ledger, Raft's own list, and who is there; `apply` does what a step says."""

    ledger: Ledger
    raft: frozenset[str]
    leader: str
    presence: Mapping[str, Presence]

    def plan(self) -> VoterPlan:
        return plan_voters(self.ledger, self.status(), self.presence, me=self.leader, now=NOW)

    def status(self) -> RaftStatus:
        connected = tuple(node for node in self.raft if self.alive(node) and node != self.leader)
        return RaftStatus("leader", self.leader, 1, 1, tuple(sorted(self.raft)), connected, True)

    def alive(self, node: str) -> bool:
        return node == self.leader or (node in self.presence and self.presence[node].alive)

    def has_quorum(self, voters: frozenset[str]) -> bool:
        return 2 * sum(map(self.alive, voters)) > len(voters)

    def apply(self, step: Step) -> "Cluster":
        named, node = set(self.ledger.voters), step.node
        if step.kind in ("name", "unname"):
            # As agent/membership/ledger_voters.py has it.
            changed = named ^ {node}
            assert changed
            assert node in self.ledger.members
            assert len(changed) <= 5
            assert (step.kind == "name") == (node in changed)
            presence = {**self.presence}
            if step.kind == "name" and self.alive(node):
                presence[node] = replace(presence[node], voter=True, idle=None)
            return replace(
                self, ledger=replace(self.ledger, voters=tuple(sorted(changed))), presence=presence
            )
        if step.kind == "add":
            assert node not in self.raft
            return replace(self, raft=self.raft | {node})
        if step.kind == "remove":
            assert node in self.raft
            assert node != self.leader
            return replace(self, raft=self.raft - {node})
        assert node in self.raft
        assert self.alive(node)
        return replace(self, leader=node)


def cluster(
    members: int,
    voters: str,
    wanted: int = 3,
    raft: str | None = None,
    leader: str = "",
    **presence: Presence,
) -> Cluster:
    """Members a, b, c, …; all alive and settled but for `presence`; the first voter leads."""
    names = "abcdefghij"[:members]
    ledger = Ledger(
        "0" * 64,
        members={name: Member(name, f"hardware {name}", "", None, n) for n, name in enumerate(names)},
        voters=tuple(voters),
        wanted_voters=wanted,
    )
    there = {name: READY if name in voters else ALIVE for name in names}
    return Cluster(
        ledger,
        frozenset(voters if raft is None else raft),
        leader or voters[0],
        {**there, **presence},
    )


def steps(found: Cluster) -> tuple[list[tuple[str, str]], Cluster]:
    """Apply the plan's steps until there are none."""
    done: list[tuple[str, str]] = []
    while (step := found.plan().step) is not None:
        assert found.has_quorum(found.raft), done
        found = found.apply(step)
        done.append((step.kind, step.node))
        assert found.has_quorum(found.raft), done
        assert len(done) < 60, done
    return done, found


def test_three_voters_that_are_alive_stay() -> None:
    plan = cluster(5, "abc").plan()
    assert plan == VoterPlan(None, "3 of 3 wanted voters")


def test_a_vote_is_given_by_ledger_and_then_by_raft() -> None:
    done, found = steps(cluster(5, "a"))
    assert done == [("name", "b"), ("add", "b"), ("name", "c"), ("add", "c")]
    assert found.raft == {"a", "b", "c"}


def test_two_members_have_one_voter() -> None:
    assert steps(cluster(2, "a"))[0] == []
    assert steps(cluster(2, "ab"))[0] == [("unname", "b"), ("remove", "b")]


def test_a_node_that_is_named_but_does_not_run_as_a_voter_is_waited_for() -> None:
    plan = cluster(3, "ab", raft="a", b=ALIVE).plan()
    assert plan == VoterPlan(None, "waits until b runs as a voter")


def test_a_node_that_went_away_before_it_had_its_vote_makes_room() -> None:
    assert cluster(4, "ab", raft="a", b=JUST_DEAD).plan().step is None
    done, found = steps(cluster(4, "ab", raft="a", b=DEAD))
    assert done[0] == ("unname", "b")
    assert found.raft == {"a", "c", "d"}


def test_a_voter_that_lost_its_log_loses_its_vote_and_gets_a_new_one() -> None:
    idle = replace(ALIVE, idle=NOW - 31)
    done, found = steps(cluster(3, "abc", b=idle))
    assert done == [("unname", "b"), ("remove", "b"), ("name", "b"), ("add", "b")]
    assert found.raft == {"a", "b", "c"}
    assert "lost its log" in cluster(3, "abc", b=idle).plan().reason


def test_a_voter_that_does_not_vote_yet_after_its_start_keeps_its_vote() -> None:
    assert cluster(3, "abc", b=replace(ALIVE, idle=NOW - 29)).plan().step is None


def test_a_voter_that_lost_its_log_keeps_its_vote_while_too_few_others_are_alive() -> None:
    plan = cluster(3, "abc", b=replace(ALIVE, idle=NOW - 31), c=DEAD).plan()
    assert plan.step is None and "too few" in plan.reason


def test_a_voter_that_is_gone_for_good_is_replaced_one_at_a_time() -> None:
    done, found = steps(cluster(5, "abc", b=DEAD))
    assert done == [("unname", "b"), ("remove", "b"), ("name", "d"), ("add", "d")]
    assert found.raft == {"a", "c", "d"}


def test_a_voter_that_is_away_for_a_while_keeps_its_vote() -> None:
    assert cluster(5, "abc", b=JUST_DEAD).plan().step is None


def test_a_voter_that_nobody_can_replace_keeps_its_vote() -> None:
    assert cluster(3, "abc", b=DEAD).plan().step is None
    assert cluster(5, "abcde", wanted=5, b=DEAD).plan().step is None


def test_of_five_voters_two_that_are_gone_lose_their_votes_so_that_one_more_may_fail() -> None:
    done, found = steps(cluster(5, "abcde", wanted=5, b=DEAD, c=DEAD))
    assert done == [("unname", "b"), ("remove", "b"), ("unname", "c"), ("remove", "c")]
    assert found.raft == {"a", "d", "e"}


def test_nothing_is_changed_when_too_few_are_alive() -> None:
    plan = cluster(5, "abcd", wanted=3, b=JUST_DEAD, c=JUST_DEAD, d=DEAD).plan()
    assert plan.step is None
    assert "too few of the others are alive" in plan.reason


def test_a_node_has_to_be_there_for_some_seconds_before_it_gets_a_vote() -> None:
    assert cluster(3, "a", b=NEW).plan().step is None
    assert cluster(4, "a", b=NEW).plan().step == Step("name", "c")
    assert cluster(3, "a", b=JUST_ALIVE).plan().step == Step("name", "b")


def test_a_node_has_to_be_there_for_longer_before_it_takes_the_place_of_another() -> None:
    assert cluster(4, "abc", b=DEAD, d=JUST_ALIVE).plan().step is None
    assert cluster(4, "abc", b=DEAD).plan().step == Step("unname", "b")


def test_a_new_voter_is_on_a_machine_of_its_own_if_there_is_one() -> None:
    found = cluster(4, "a")
    twin = replace(found.ledger.members["b"], hardware="hardware a")
    found = replace(found, ledger=replace(found.ledger, members={**found.ledger.members, "b": twin}))
    assert found.plan().step == Step("name", "c")


def test_a_removed_member_loses_its_vote_before_anything_else() -> None:
    # It is out of the ledger, and Raft knows it by its address.
    found = cluster(4, "ac", raft="ac")
    found = replace(found, raft=frozenset({"a", "c", "10.0.0.9"}))
    done, found = steps(found)
    assert done[0] == ("remove", "10.0.0.9")
    assert found.raft == {"a", "b", "c"}


def test_a_leader_that_lost_its_vote_hands_the_lead_over_and_then_loses_it_in_raft() -> None:
    done, found = steps(cluster(4, "bc", raft="abc", leader="a"))
    assert done[:2] == [("transfer", "b"), ("remove", "a")]
    assert found.leader == "b"
    assert "a" not in found.raft or "a" in found.ledger.voters


def test_a_leader_that_lost_its_vote_goes_on_while_nobody_can_lead() -> None:
    plan = cluster(3, "b", raft="ab", leader="a", b=DEAD).plan()
    assert plan.step is None
    assert "nobody to lead instead" in plan.reason


def test_fewer_voters_that_are_wanted_leave_the_longest_members() -> None:
    done, found = steps(cluster(5, "abcde", wanted=3, leader="e"))
    assert found.raft == {"a", "b", "e"}
    assert [kind for kind, _ in done] == ["unname", "remove"] * 2


@pytest.mark.parametrize("role", ["follower", "candidate", "observer", "off"])
def test_only_the_leader_plans(role: str) -> None:
    found = cluster(5, "a")
    plan = plan_voters(found.ledger, replace(found.status(), role=role), found.presence, me="a", now=NOW)
    assert plan.step is None


def test_a_leader_plans_only_when_it_has_all_that_was_committed() -> None:
    found = cluster(5, "a")
    status = replace(found.status(), ready=False)
    assert plan_voters(found.ledger, status, found.presence, me="a", now=NOW).step is None


PRESENCE = st.sampled_from([ALIVE, READY, DEAD, JUST_DEAD, JUST_ALIVE, NEW])


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Any cluster that has a quorum: in the middle of changes, with removed members among Raft's voters."""
    members = draw(st.integers(1, 9))
    names = "abcdefghi"[:members]
    voters = draw(st.sets(st.sampled_from(names), min_size=1, max_size=5))
    outside = ["removed"] if draw(st.booleans()) else []
    changes = draw(st.sets(st.sampled_from([*names, *outside]), max_size=1))
    raft = (voters ^ changes) or voters
    found = cluster(
        members,
        "".join(sorted(voters)),
        wanted=draw(st.sampled_from([1, 3, 5])),
        leader=draw(st.sampled_from(sorted(raft & set(names)) or ["a"])),
    )
    presence = {name: draw(PRESENCE) for name in names} | {found.leader: READY}
    return replace(found, raft=frozenset(raft), presence=presence)


@given(found=clusters())
@settings(max_examples=200, deadline=None)
def test_the_steps_always_end_and_never_break_the_quorum(found: Cluster) -> None:
    if found.leader not in found.raft or not found.has_quorum(found.raft):
        return
    _, last = steps(found)
    named = set(last.ledger.voters)
    presence = {**last.presence, last.leader: READY}
    blocked = "too few" in last.plan().reason or "nobody to lead" in last.plan().reason
    waiting = "waits until" in last.plan().reason or "about to be there" in last.plan().reason
    if blocked or waiting:
        return
    assert named == last.raft
    # As many as can be had: who is alive and settled or has a vote, and one that is dead if none is spare.
    limits = Limits()
    dead = [n for n in named if not presence[n].alive and NOW - presence[n].since > limits.grace]
    there = limits.joined if len(named) < last.ledger.wanted_voters else limits.settled
    spare = [
        n
        for n in last.ledger.members
        if n not in named and presence[n].alive and NOW - presence[n].since >= there
    ]
    can_be = len(named) - len(dead) + len(spare) + min(1, len(dead))
    most = min(last.ledger.wanted_voters, can_be)
    assert len(named) == max(1, most - 1 + most % 2)
    assert not (dead and spare)


@given(members=st.integers(1, 9), wanted=st.sampled_from([1, 3, 5]), data=st.data())
@settings(max_examples=50, deadline=None)
def test_when_all_are_alive_the_voters_are_the_largest_odd_number_that_is_wanted(
    members: int, wanted: int, data: st.DataObject
) -> None:
    names = "abcdefghi"[:members]
    voters = data.draw(st.sets(st.sampled_from(names), min_size=1, max_size=5))
    _, last = steps(cluster(members, "".join(sorted(voters)), wanted=wanted))
    most = min(members, wanted)
    assert len(last.raft) == most - 1 + most % 2
    assert last.raft == set(last.ledger.voters)
