# SPDX-License-Identifier: Apache-2.0
"""What one node does with each message: what it writes, what it answers, what it asks."""

from dataclasses import replace

import pytest

from agent.cluster import Phase
from agent.errors import ClusterError
from agent.formation import forming, plan, proposer, pursue
from agent.formation.acceptor import State, decode_state
from agent.formation.ballot import Vote
from agent.formation.forming import Outcome
from agent.formation.genesis import hash_encoded
from agent.formation.messages import (
    Accept,
    Accepted,
    Decided,
    Formed,
    Nack,
    Prepare,
    Promise,
)
from agent.formation.record import decode_record
from tests.forming_material import CLUSTER_ID, NODES, hardware_of, make_peer
from tests.forming_node import (
    PEERS,
    THEIRS,
    VALUE,
    after,
    ballot_of,
    decided_record,
    message_in,
    node,
    proposing,
    said_by,
)


def test_a_promise_is_to_be_written_before_it_is_sent() -> None:
    outcome = forming.receive(node(), said_by(1, Prepare(THEIRS)), 1.0)
    assert outcome.persist is not None
    assert decode_state(outcome.persist, CLUSTER_ID, "") == outcome.formation.state == State(THEIRS)
    assert message_in(outcome.reply) == Promise(THEIRS, hardware_of(0), None)


def test_a_vote_is_to_be_written_before_it_is_sent() -> None:
    outcome = forming.receive(node(), said_by(1, Accept(THEIRS, VALUE)), 1.0)
    assert outcome.persist is not None
    assert decode_state(outcome.persist, CLUSTER_ID, "") == State(THEIRS, Vote(THEIRS, VALUE))
    assert message_in(outcome.reply) == Accepted(THEIRS, hash_encoded(VALUE))


def test_nothing_new_is_not_written_again() -> None:
    first = forming.receive(node(), said_by(1, Prepare(THEIRS)), 1.0)
    again = forming.receive(first.formation, said_by(1, Prepare(THEIRS)), 2.0)
    assert (again.persist, message_in(again.reply)) == (None, message_in(first.reply))


def test_a_low_ballot_gets_a_refusal_that_names_the_higher_one() -> None:
    outcome = forming.receive(node(state=State(replace(THEIRS, round=9))), said_by(1, Prepare(THEIRS)), 1.0)
    assert message_in(outcome.reply) == Nack(THEIRS, replace(THEIRS, round=9))
    assert outcome.persist is None


def test_a_proposer_promises_itself_on_its_own_disk_before_it_asks() -> None:
    outcome = proposing()
    (query,) = outcome.broadcasts
    assert message_in(query) == Prepare(ballot_of(outcome))
    assert outcome.persist is not None
    assert decode_state(outcome.persist, CLUSTER_ID, "").promised == ballot_of(outcome)


def test_after_a_crash_a_proposer_takes_a_new_ballot() -> None:
    first = proposing()
    again = forming.tick(node(state=first.formation.state), PEERS, 20.0)
    assert ballot_of(again) > ballot_of(first)


def test_an_attempt_goes_from_promises_over_votes_to_a_record() -> None:
    outcome = proposing()
    ballot = ballot_of(outcome)
    promises = [(i, Promise(ballot, hardware_of(i), None)) for i in (1, 2)]
    outcome = after(outcome.formation, promises)
    accept = message_in(outcome.broadcasts[0])
    assert isinstance(accept, Accept)
    assert outcome.persist is not None
    assert decode_state(outcome.persist, CLUSTER_ID, "").vote == Vote(ballot, accept.value)
    outcome = after(outcome.formation, [(2, Accepted(ballot, hash_encoded(accept.value)))])
    assert outcome.decided is not None
    record = decode_record(outcome.decided)
    assert outcome.formation.genesis == record.hash == hash_encoded(accept.value)
    assert set(record.accepts) == {NODES[0], NODES[2]}


def test_a_proposer_adopts_what_others_may_have_decided() -> None:
    vote = Vote(THEIRS, VALUE)
    outcome = forming.tick(node(state=State(replace(THEIRS, round=5))), PEERS, 10.0)
    outcome = after(outcome.formation, [(1, Promise(ballot_of(outcome), hardware_of(1), vote))])
    assert message_in(outcome.broadcasts[0]) == Accept(ballot_of(outcome), VALUE)


def test_questions_without_enough_answers_are_asked_again_and_then_given_up() -> None:
    outcome = proposing()
    ballot, now, asked = ballot_of(outcome), 10.0, 0
    while outcome.formation.attempt is not None:
        assert 0 < outcome.wake <= 1.0
        now += outcome.wake
        outcome = forming.tick(outcome.formation, PEERS, now)
        asked += len(outcome.broadcasts)
    assert (now, asked) == (10.0 + proposer.PHASE_LIMIT, 3)
    assert f"ballot {ballot.round} came to nothing" in outcome.sentence


def test_a_refusal_ends_an_attempt_and_the_next_is_above_it() -> None:
    outcome = proposing()
    high = replace(THEIRS, round=70)
    outcome = after(outcome.formation, [(1, Nack(ballot_of(outcome), high))])
    assert outcome.formation.attempt is None
    later = forming.tick(outcome.formation, PEERS, 10.1 + plan.BACK_OFF * 1.5)
    assert ballot_of(later).round == 71


def test_a_proposer_that_promises_a_higher_ballot_ends_its_own_attempt() -> None:
    outcome = after(proposing().formation, [(1, Prepare(THEIRS))])
    assert outcome.formation.attempt is None
    assert isinstance(message_in(outcome.reply), Promise)


def test_who_voted_hears_of_the_decision_and_begins_at_once() -> None:
    """Its words are the proposer's; who has not voted in that ballot has nothing that they could prove."""
    asked = after(proposing().formation, [])
    ballot = ballot_of(asked)
    voter = forming.receive(node(1), said_by(0, Prepare(ballot)), 10.1)
    promised = message_in(voter.reply)
    chosen = after(asked.formation, [(1, promised), (2, Promise(ballot, hardware_of(2), None))])
    voted = forming.receive(voter.formation, chosen.broadcasts[0], 10.2)
    decided = after(chosen.formation, [(1, message_in(voted.reply))])
    (said,) = decided.broadcasts
    begun = forming.receive(voted.formation, said, 10.3)
    assert begun.decided == decided.decided is not None
    assert begun.formation.genesis == decided.formation.genesis
    assert forming.receive(begun.formation, said, 10.4) == Outcome(begun.formation)
    for other in (voter.formation, node(2)):
        assert forming.receive(other, said, 10.3) == Outcome(other)


def test_a_decision_without_the_votes_of_a_quorum_is_refused() -> None:
    state = State(THEIRS, Vote(THEIRS, VALUE))
    for accepts in ({}, {NODES[1]: bytes(64)}, {NODES[1]: bytes(64), NODES[2]: bytes(64)}):
        with pytest.raises(ClusterError):
            forming.receive(node(state=state), said_by(1, Decided(THEIRS, accepts)), 1.0)


def test_answers_that_come_too_late_change_nothing() -> None:
    outcome = proposing()
    formation = replace(outcome.formation, attempt=None)
    late = after(formation, [(1, Promise(ballot_of(outcome), hardware_of(1), None))])
    assert late == Outcome(formation)


def test_who_sees_a_cluster_helps_nobody_to_found_another() -> None:
    member = make_peer(2, phase=Phase.MEMBER, genesis="ab" * 32)
    formation = forming.tick(node(), [make_peer(1), member], 1.0).formation
    for message in (Prepare(THEIRS), Accept(THEIRS, VALUE)):
        outcome = forming.receive(formation, said_by(1, message), 1.0)
        assert message_in(outcome.reply) == Formed(THEIRS, "ab" * 32)
        assert outcome.persist is None


def test_a_proposer_that_is_told_of_a_cluster_stops() -> None:
    outcome = proposing()
    outcome = after(outcome.formation, [(1, Formed(ballot_of(outcome), "ab" * 32))])
    assert outcome.formation.attempt is None
    assert "knows of a cluster: genesis abababab" in outcome.sentence


def test_a_cluster_that_comes_into_sight_ends_an_attempt() -> None:
    member = make_peer(1, phase=Phase.MEMBER, genesis="ab" * 32)
    outcome = forming.tick(proposing().formation, [member], 10.5)
    assert outcome.formation.attempt is None
    assert outcome.formation.geneses == ("ab" * 32,)
    assert outcome.sentence == "joining the cluster: genesis abababab"


def test_a_node_that_has_a_genesis_says_so_to_whoever_proposes() -> None:
    record, genesis = decided_record()
    outcome = forming.receive(forming.learn(node(2), record).formation, said_by(1, Prepare(THEIRS)), 1.0)
    assert message_in(outcome.reply) == Formed(THEIRS, genesis)


def test_a_refusal_of_a_former_ballot_does_not_end_an_attempt() -> None:
    outcome = proposing()
    former = replace(ballot_of(outcome), hardware="00" * 6)
    for message in (Nack(former, THEIRS), Formed(former, "ab" * 32)):
        assert after(outcome.formation, [(1, message)]) == Outcome(outcome.formation)


def test_a_copied_disk_that_is_gone_again_does_not_stop_the_others() -> None:
    """Original and clone proposed in one round, and each voted for its own: their ballots still differ."""
    lowest, original = node(0), node(1)
    clone = replace(original, hardware="ff" * 6)
    for each in (original, clone):
        asked = pursue.start(each, 10.0)
        promise = forming.receive(lowest, asked.broadcasts[0], 10.0)
        assert promise.reply is not None
        chosen = forming.receive(asked.formation, promise.reply, 10.0)
        lowest = promise.formation
        if each is original:
            original = chosen.formation
    lowest = forming.receive(lowest, chosen.broadcasts[0], 10.0).formation
    assert lowest.state.vote is not None
    asked = pursue.start(lowest, 20.0)
    promise = forming.receive(original, asked.broadcasts[0], 20.0)
    assert promise.reply is not None
    adopted = message_in(forming.receive(asked.formation, promise.reply, 20.0).broadcasts[0])
    assert isinstance(adopted, Accept) and adopted.value == lowest.state.vote.value
