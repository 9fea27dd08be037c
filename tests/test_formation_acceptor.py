# SPDX-License-Identifier: Apache-2.0
"""An acceptor keeps its word, and its file is whole or refused."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import files, wire
from agent.errors import ClusterError
from agent.formation.acceptor import State, accept, decode_state, encode_state, prepare
from agent.formation.ballot import Ballot, Vote
from agent.formation.genesis import encode_genesis, hash_encoded, make_genesis
from agent.formation.messages import Accept, Accepted, Nack, Prepare, Promise
from tests.forming_material import CLUSTER_ID, NODES, hardware_of, make_credential

HARDWARE = hardware_of(0)
LOW, MIDDLE, HIGH = (Ballot(round_, NODES[1], HARDWARE) for round_ in (1, 2, 3))
VALUE, OTHER = (
    encode_genesis(make_genesis(make_credential(3), {NODES[i]: HARDWARE}, bytes)[0]) for i in range(2)
)
VOTED = State(MIDDLE, Vote(MIDDLE, VALUE))


def test_the_first_ballot_gets_a_promise() -> None:
    assert prepare(State(), Prepare(LOW), HARDWARE) == (State(LOW), Promise(LOW, HARDWARE, None))


def test_a_promise_tells_the_vote_that_was_given() -> None:
    state, reply = prepare(VOTED, Prepare(HIGH), HARDWARE)
    assert reply == Promise(HIGH, HARDWARE, VOTED.vote)
    assert state == replace(VOTED, promised=HIGH)


def test_a_lower_ballot_gets_neither_promise_nor_vote() -> None:
    state = State(HIGH)
    assert prepare(state, Prepare(LOW), HARDWARE) == (state, Nack(LOW, HIGH))
    assert accept(state, Accept(LOW, VALUE)) == (state, Nack(LOW, HIGH))


def test_the_same_question_gets_the_same_answer_and_changes_nothing() -> None:
    state, reply = prepare(State(), Prepare(LOW), HARDWARE)
    assert prepare(state, Prepare(LOW), HARDWARE) == (state, reply)
    state, vote = accept(state, Accept(LOW, VALUE))
    assert accept(state, Accept(LOW, VALUE)) == (state, vote)


def test_a_vote_is_a_promise_too() -> None:
    state, reply = accept(State(LOW), Accept(HIGH, VALUE))
    assert reply == Accepted(HIGH, hash_encoded(VALUE))
    assert state == State(HIGH, Vote(HIGH, VALUE))


def test_one_ballot_never_gets_votes_for_two_values() -> None:
    assert accept(VOTED, Accept(MIDDLE, OTHER)) == (VOTED, Nack(MIDDLE, MIDDLE))


def test_ballots_of_one_round_are_told_apart_by_node_and_hardware() -> None:
    ballots = [Ballot(1, node, hardware_of(i)) for node in NODES[:2] for i in range(2)]
    assert sorted(ballots) == ballots
    assert len(set(ballots)) == 4


@pytest.mark.parametrize("state", [State(), State(LOW), VOTED, replace(VOTED, promised=HIGH)])
def test_what_was_written_is_what_is_read(state: State) -> None:
    assert decode_state(encode_state(state, CLUSTER_ID), CLUSTER_ID, "forming.msgpack") == state


def test_a_file_of_another_cluster_is_refused_and_says_which() -> None:
    with pytest.raises(ClusterError, match=f"forming.msgpack belongs to another cluster .{CLUSTER_ID}"):
        decode_state(encode_state(VOTED, CLUSTER_ID), "z" * 26, "forming.msgpack")


def test_a_damaged_file_is_refused_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "forming.msgpack"
    content = encode_state(VOTED, CLUSTER_ID)
    files.replace(path, content[:-1] + b"\0", mode=0o600)
    with pytest.raises(ClusterError, match=f"{path} is damaged: its checksum is wrong") as error:
        decode_state(path.read_bytes(), CLUSTER_ID, str(path))
    assert "takes no part in forming" in error.value.hint
    assert path.read_bytes() == content[:-1] + b"\0"


@given(st.data())
def test_no_changed_file_is_taken_for_a_whole_one(data: st.DataObject) -> None:
    content = bytearray(encode_state(VOTED, CLUSTER_ID))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ClusterError, match="damaged"):
        decode_state(bytes(content), CLUSTER_ID, "forming.msgpack")


@given(st.integers(0, len(encode_state(VOTED, CLUSTER_ID)) - 1))
def test_no_cut_file_is_taken_for_a_whole_one(length: int) -> None:
    with pytest.raises(ClusterError, match="damaged"):
        decode_state(encode_state(VOTED, CLUSTER_ID)[:length], CLUSTER_ID, "forming.msgpack")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": 2}, "version"),
        ({"promised": None}, "a vote without the promise"),
        ({"ballot": None}, "ballot"),
        ({"value": None}, "value"),
        ({"value": b"\x80"}, "genesis"),
        ({"promised": bytes(46)}, "promised: not a ballot"),
        ({"more": 1}, "unknown field"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(change: dict[str, object], why: str) -> None:
    body = wire.pack({**wire.unpack(encode_state(VOTED, CLUSTER_ID)[32:]), **change})
    with pytest.raises(ClusterError, match=why):
        decode_state(wire.digest("cluster/forming-state", body) + body, CLUSTER_ID, "forming.msgpack")
