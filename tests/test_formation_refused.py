# SPDX-License-Identifier: Apache-2.0
"""What one node refuses while it forms, and what it says."""

from dataclasses import replace

import pytest

from agent.cluster import Phase, Policy
from agent.errors import ClusterError
from agent.formation import forming
from agent.formation.acceptor import State
from agent.formation.ballot import Ballot, Vote
from agent.formation.genesis import encode_genesis, make_genesis
from agent.formation.messages import (
    Accept,
    Nack,
    Prepare,
    Promise,
)
from tests.forming_material import NODES, SEEDS, hardware_of, make_credential, make_peer
from tests.forming_node import (
    PEERS,
    THEIRS,
    THREE,
    VALUE,
    after,
    ballot_of,
    decided_record,
    node,
    proposing,
    said_by,
)


def test_of_two_clusters_in_sight_none_is_learnt() -> None:
    record, genesis = decided_record()
    peers = [make_peer(i, phase=Phase.MEMBER, genesis=g) for i, g in ((1, genesis), (2, "ab" * 32))]
    formation = forming.tick(node(), peers, 1.0).formation
    with pytest.raises(ClusterError, match="2 clusters carry this cluster id"):
        forming.learn(formation, record)


def test_a_node_that_has_a_genesis_takes_no_other() -> None:
    (first, genesis), (second, _) = decided_record(), decided_record()
    outcome = forming.learn(node(2), first)
    assert (outcome.decided, outcome.formation.genesis) == (first, genesis)
    with pytest.raises(ClusterError, match="2 clusters"):
        forming.learn(outcome.formation, second)
    assert forming.learn(outcome.formation, first).formation == outcome.formation


@pytest.mark.parametrize("change", [{"name": "other"}, {"machines": 5}, {"voters": 1}])
def test_nobody_votes_for_the_genesis_of_another_plan(change: dict[str, object]) -> None:
    other, founders = replace(THREE, **change), {NODES[1]: hardware_of(1)}  # type: ignore[arg-type]
    value = encode_genesis(make_genesis(other, founders, bytes)[0])
    with pytest.raises(ClusterError, match="than the join credential"):
        forming.receive(node(), said_by(1, Accept(THEIRS, value)), 1.0)


def test_nobody_votes_for_a_value_that_is_no_genesis() -> None:
    with pytest.raises(ClusterError, match="genesis"):
        forming.receive(node(), said_by(1, Accept(THEIRS, b"\x80")), 1.0)


def test_nobody_takes_up_a_bad_value_from_a_promise() -> None:
    outcome = proposing()
    vote = Vote(Ballot(1, NODES[0], "00" * 6), b"\x80")
    with pytest.raises(ClusterError, match="genesis"):
        after(outcome.formation, [(1, Promise(ballot_of(outcome), hardware_of(1), vote))])


def test_nobody_votes_for_founders_that_are_not_listed() -> None:
    listed = make_credential(3, policy=Policy.ALLOWLIST, allowlist=NODES[:3])
    founders = {NODES[i]: hardware_of(i) for i in (1, 5)}
    value = encode_genesis(make_genesis(listed, founders, bytes)[0])
    with pytest.raises(ClusterError, match="founder that is not on the allowlist"):
        forming.receive(node(credential=listed), said_by(1, Accept(THEIRS, value)), 1.0)


def test_nodes_that_are_not_listed_are_not_heard() -> None:
    listed = make_credential(3, policy=Policy.ALLOWLIST, allowlist=NODES[:3])
    ballot = Ballot(1, NODES[5], hardware_of(5))
    with pytest.raises(ClusterError, match="not on the allowlist"):
        forming.receive(node(credential=listed), said_by(5, Prepare(ballot)), 1.0)


def test_who_only_joins_gives_no_promise() -> None:
    with pytest.raises(ClusterError, match="this node only joins"):
        forming.receive(node(credential=make_credential(0)), said_by(1, Prepare(THEIRS)), 1.0)


def test_no_single_message_uses_up_the_rounds() -> None:
    far = replace(THEIRS, round=forming.MAX_LEAP + 1)
    for message in (Prepare(far), Nack(THEIRS, far)):
        with pytest.raises(ClusterError, match="out of reach"):
            forming.receive(node(), said_by(1, message), 1.0)
    near = replace(far, round=forming.MAX_LEAP)
    assert forming.receive(node(), said_by(1, Prepare(near)), 1.0).formation.highest == near.round


def test_a_vote_that_does_not_fit_the_credential_any_more_is_told_and_binds() -> None:
    state = State(THEIRS, Vote(THEIRS, VALUE))
    outcome = forming.tick(node(credential=make_credential(3, name="renamed"), state=state), PEERS, 10.0)
    assert "another name than the join credential" in outcome.sentence
    assert outcome.formation.state.vote == state.vote
    assert outcome.formation.attempt is None


def test_sentences_tell_what_a_node_waits_for() -> None:
    five = make_credential(5)
    few = forming.tick(node(credential=five), PEERS[:1], 1.0)
    assert few.sentence == "forming: 2 of 5 planned machines in sight; 3 are needed"
    soon = forming.tick(node(credential=five), PEERS, 1.0)
    assert soon.sentence == "forming: 3 of 5 planned machines in sight; proposing in 1.0 s"
    assert soon.wake == pytest.approx(1.0)
    other = forming.tick(node(2, credential=five), (make_peer(0), make_peer(1)), 1.0)
    assert other.sentence == f"forming: 3 of 5 planned machines in sight; waiting for {NODES[0]} to propose"
    assert proposing().sentence == "forming: ballot 1 has 1 of 2 promises"


def test_no_secret_is_in_what_a_formation_shows_of_itself() -> None:
    shown = repr(proposing())
    assert repr(SEEDS[0]) not in shown and SEEDS[0].hex() not in shown
    assert "gossip_key" not in shown
