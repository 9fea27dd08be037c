# SPDX-License-Identifier: Apache-2.0
"""Who counts, whose turn it is, and what one attempt does with the answers it gets."""

from dataclasses import replace

import pytest

from agent.cluster import Credential, Phase, Policy
from agent.errors import ClusterError
from agent.formation import plan, proposer
from agent.formation.ballot import Ballot, Vote
from agent.formation.genesis import decode_genesis, encode_genesis, hash_encoded, make_genesis
from agent.formation.messages import Accept, Accepted, Prepare, Promise
from agent.formation.plan import Patience, View
from agent.formation.proposer import Attempt
from tests.forming_material import NODES, hardware_of, make_credential, make_peer, with_founder

FIVE = make_credential(5)
BALLOT = Ballot(9, NODES[0], hardware_of(0))


@pytest.mark.parametrize(
    ("machines", "needed"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (1000, 501)]
)
def test_a_quorum_is_more_than_half_of_the_planned_machines(machines: int, needed: int) -> None:
    assert plan.quorum(make_credential(machines)) == needed
    assert not machines or 2 * needed > machines


def test_of_an_allowlist_only_the_listed_count() -> None:
    listed = make_credential(3, policy=Policy.ALLOWLIST, allowlist=(NODES[0], "ek:" + "0" * 64))
    assert [plan.counts(listed, node) for node in NODES[:2]] == [True, False]
    for policy in (Policy.AUTO, Policy.APPROVE):
        assert plan.counts(make_credential(3, policy=policy), NODES[1])


def test_without_a_planned_number_only_the_founding_medium_takes_part() -> None:
    unplanned = make_credential(0, policy=Policy.ALLOWLIST, allowlist=(NODES[1],))
    assert not plan.takes_part(unplanned, NODES[0])
    assert plan.takes_part(with_founder(unplanned), NODES[0])


def test_only_living_peers_that_know_of_no_cluster_are_in_view() -> None:
    peers = [
        make_peer(1),
        make_peer(2, alive=False),
        make_peer(3, phase=Phase.JOINING),
        make_peer(4, phase=Phase.MEMBER, genesis="ab" * 32),
        make_peer(5, phase=Phase.MEMBER, genesis="cd" * 32, alive=False),
        make_peer(6, genesis="ef" * 32),
    ]
    view = plan.look(FIVE, NODES[0], hardware_of(0), peers)
    assert view == View(tuple(sorted(NODES[:2])), ("ab" * 32, "ef" * 32))


def test_clones_count_once() -> None:
    clone = replace(make_peer(1), hardware="ff" * 6, name=f"{NODES[1]}.ffffffffffff")
    own = replace(make_peer(0), hardware="ff" * 6, name=f"{NODES[0]}.ffffffffffff")
    view = plan.look(FIVE, NODES[0], hardware_of(0), [make_peer(0), own, make_peer(1), clone])
    assert view.forming == NODES[:2]


def test_a_clone_of_this_node_that_is_a_member_is_a_cluster_in_sight() -> None:
    clone = replace(make_peer(0, phase=Phase.MEMBER, genesis="ab" * 32), hardware="ff" * 6)
    assert plan.look(FIVE, NODES[0], hardware_of(0), [clone]).geneses == ("ab" * 32,)


def seen(patience: Patience, count: int, now: float, credential: Credential = FIVE) -> Patience:
    return plan.observe(patience, credential, View(NODES[:count]), now)


def test_nobody_is_due_without_a_quorum() -> None:
    patience = seen(Patience(), 2, 10.0)
    assert plan.due(patience, FIVE, NODES[0]) is None
    assert plan.due(seen(seen(patience, 3, 20.0), 2, 30.0), FIVE, NODES[0]) is None


def test_with_all_planned_machines_in_view_the_lowest_is_due_at_once() -> None:
    assert plan.due(seen(Patience(), 5, 10.0), FIVE, NODES[0]) == 10.0


def test_others_are_waited_for_after_each_arrival_but_not_for_ever() -> None:
    patience = seen(Patience(), 3, 10.0)
    assert plan.due(patience, FIVE, NODES[0]) == 10.0 + plan.SETTLE
    patience = seen(patience, 4, 10.5)
    assert plan.due(patience, FIVE, NODES[0]) == 10.5 + plan.SETTLE
    for step in range(20):
        patience = seen(seen(patience, 3, 11.0 + step), 4, 11.5 + step)
    assert plan.due(patience, FIVE, NODES[0]) == 10.0 + plan.SETTLE_LIMIT


def test_each_next_in_line_waits_longer() -> None:
    patience = seen(Patience(), 5, 10.0)
    assert [plan.due(patience, FIVE, node) for node in NODES[:3]] == [
        10.0,
        10.0 + plan.TAKEOVER,
        10.0 + 2 * plan.TAKEOVER,
    ]


def test_a_proposer_that_is_at_work_is_left_alone_for_a_while() -> None:
    patience = replace(seen(Patience(), 5, 10.0), heard=12.0)
    assert plan.due(patience, FIVE, NODES[0]) == 12.0 + plan.TAKEOVER


def test_one_that_founds_alone_looks_around_first() -> None:
    one = make_credential(1)
    assert plan.due(seen(Patience(), 1, 10.0, one), one, NODES[0]) == 10.0 + plan.LOOK


def test_waits_after_failures_grow_differ_and_are_bounded() -> None:
    patience, waits = seen(Patience(), 5, 10.0), []
    for round_ in range(100):
        patience = plan.fail(patience, NODES[0], round_, 0.0)
        waits.append(patience.not_before)
        assert plan.due(patience, FIVE, NODES[0]) == max(10.0, patience.not_before)
    assert waits[0] < plan.BACK_OFF * 1.5 and max(waits) <= plan.BACK_OFF_LIMIT * 1.5
    assert min(waits[10:]) >= plan.BACK_OFF_LIMIT * 0.5
    assert plan.fail(Patience(), NODES[1], 0, 0.0).not_before != waits[0]


def test_a_quorum_that_is_back_makes_failures_forgotten() -> None:
    patience = seen(Patience(), 5, 10.0)
    for round_ in range(10):
        patience = plan.fail(patience, NODES[0], round_, 20.0)
    patience = seen(seen(patience, 1, 21.0), 5, 22.0)
    assert plan.due(patience, FIVE, NODES[0]) == 22.0


def promised(*indices: int, vote: Vote | None = None) -> Attempt:
    attempt = proposer.begin(BALLOT, failures=0, now=0.0)
    for index in indices:
        attempt = proposer.add_promise(attempt, NODES[index], Promise(BALLOT, hardware_of(index), vote))
    return attempt


def value_by(*indices: int) -> bytes:
    return encode_genesis(make_genesis(FIVE, {NODES[i]: hardware_of(i) for i in indices}, bytes)[0])


def test_an_attempt_asks_for_promises_and_then_for_votes() -> None:
    attempt = promised(0, 1, 2)
    assert proposer.question(attempt) == Prepare(BALLOT)
    chosen = proposer.choose(attempt, FIVE, bytes, 3.0)
    assert chosen.value is not None
    assert proposer.question(chosen) == Accept(BALLOT, chosen.value)
    assert (chosen.since, chosen.sent) == (3.0, 3.0)


@pytest.mark.parametrize("machines", [2, 3, 4, 5, 7])
def test_no_value_is_chosen_before_a_quorum_promised(machines: int) -> None:
    credential = make_credential(machines)
    needed = plan.quorum(credential)
    assert not proposer.may_choose(promised(*range(needed - 1)), credential, NODES[:machines], 1e9)
    assert proposer.may_choose(promised(*range(needed)), credential, NODES[:machines], 1e9)


def test_a_quorum_waits_a_moment_for_those_who_would_be_founders() -> None:
    assert not proposer.may_choose(promised(0, 1, 2), FIVE, NODES[:4], 0.5)
    assert proposer.may_choose(promised(0, 1, 2), FIVE, NODES[:4], proposer.COLLECT)
    assert proposer.may_choose(promised(0, 1, 2, 3), FIVE, NODES[:4], 0.0)
    three = make_credential(5, voters=3)
    assert proposer.may_choose(promised(0, 1, 2), three, NODES[:5], 0.0)


def test_a_value_that_is_bound_needs_no_waiting() -> None:
    vote = Vote(replace(BALLOT, round=1), value_by(0))
    assert proposer.may_choose(promised(0, 1, 2, vote=vote), FIVE, NODES[:5], 0.0)


def test_founders_are_the_lowest_that_promised_with_the_hardware_that_they_told() -> None:
    value = proposer.choose(promised(6, 2, 4, 0, 5, 3), make_credential(7), bytes, 0.0).value
    assert value is not None
    genesis = decode_genesis(value)
    assert genesis.founders == tuple(NODES[i] for i in (0, 2, 3, 4, 5))
    assert genesis.hardware == tuple(hardware_of(i) for i in (0, 2, 3, 4, 5))


def test_two_values_in_one_ballot_are_told_as_a_copied_disk() -> None:
    attempt = proposer.begin(BALLOT, failures=0, now=0.0)
    for index in range(3):
        vote = Vote(replace(BALLOT, round=1), value_by(index))
        attempt = proposer.add_promise(attempt, NODES[index], Promise(BALLOT, hardware_of(index), vote))
    with pytest.raises(ClusterError, match=f"key of node {NODES[0]}") as error:
        proposer.choose(attempt, FIVE, bytes, 0.0)
    assert "copied disk" in error.value.hint


def test_a_promise_against_an_own_vote_is_not_taken() -> None:
    vote = Vote(BALLOT, value_by(0))
    with pytest.raises(ClusterError, match="below one in which it voted"):
        promised(1, vote=vote)


def test_only_promises_and_votes_of_the_attempt_count() -> None:
    other = replace(BALLOT, round=8)
    attempt = proposer.add_promise(promised(0), NODES[1], Promise(other, hardware_of(1), None))
    assert attempt == promised(0)
    chosen = proposer.choose(promised(0, 1, 2), FIVE, bytes, 0.0)
    assert chosen.value is not None
    value_hash = hash_encoded(chosen.value)
    assert proposer.add_vote(chosen, NODES[1], Accepted(other, value_hash), bytes(64)) == chosen
    assert proposer.add_vote(promised(0), NODES[1], Accepted(BALLOT, value_hash), bytes(64)) == promised(0)
    with pytest.raises(ClusterError, match="voted for another genesis"):
        proposer.add_vote(chosen, NODES[1], Accepted(BALLOT, "ab" * 32), bytes(64))


def test_a_genesis_is_decided_by_a_quorum_of_votes_of_different_nodes() -> None:
    attempt = proposer.choose(promised(0, 1, 2), FIVE, bytes, 0.0)
    assert attempt.value is not None
    accepted = Accepted(BALLOT, hash_encoded(attempt.value))
    for index in (0, 1, 1, 1):
        attempt = proposer.add_vote(attempt, NODES[index], accepted, bytes([index]) * 64)
        assert proposer.decided(attempt, FIVE) is None
    attempt = proposer.add_vote(attempt, NODES[4], accepted, bytes([4]) * 64)
    assert proposer.decided(attempt, FIVE) == {NODES[i]: bytes([i]) * 64 for i in (0, 1, 4)}


def test_attempts_that_failed_are_followed_by_more_patient_ones() -> None:
    limits = [proposer.begin(BALLOT, failures, now=0.0).limit for failures in range(8)]
    assert limits == [4.0, 8.0, 16.0, 32.0, 32.0, 32.0, 32.0, 32.0]
