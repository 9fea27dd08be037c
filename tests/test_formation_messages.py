# SPDX-License-Identifier: Apache-2.0
"""Messages of forming come back as they were sent; nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from agent.errors import ClusterError
from agent.formation.ballot import Ballot, Vote, encode_ballot
from agent.formation.genesis import encode_genesis, make_genesis
from agent.formation.messages import (
    MAX_ACCEPTS,
    MAX_MESSAGE,
    Accept,
    Accepted,
    Decided,
    Formed,
    Message,
    Nack,
    Prepare,
    Promise,
    decode_message,
    encode_message,
)
from tests.forming_material import CLUSTER_ID, NODES, SEEDS, hardware_of, make_credential

MINE = Ballot(7, NODES[0], hardware_of(0))
THEIRS = Ballot(8, NODES[1], hardware_of(1))
VALUE = encode_genesis(make_genesis(make_credential(3), {NODES[0]: hardware_of(0)}, bytes)[0])
MESSAGES: list[Message] = [
    Prepare(MINE),
    Promise(THEIRS, hardware_of(0), None),
    Promise(THEIRS, hardware_of(0), Vote(MINE, VALUE)),
    Accept(MINE, VALUE),
    Accepted(THEIRS, "ab" * 32),
    Nack(MINE, THEIRS),
    Formed(THEIRS, "cd" * 32),
    Decided(MINE, {node_id: bytes([index]) * 64 for index, node_id in enumerate(NODES[:MAX_ACCEPTS])}),
]
KIND = {
    Prepare: "prepare",
    Promise: "promise",
    Accept: "accept",
    Accepted: "accepted",
    Nack: "nack",
    Formed: "formed",
    Decided: "decided",
}
LETTER = dict(zip(KIND.values(), (b"p", b"P", b"a", b"A", b"n", b"f", b"d"), strict=True))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_with_its_sender(message: Message) -> None:
    data = encode_message(SEEDS[0], CLUSTER_ID, message)
    received = decode_message(data, CLUSTER_ID)
    assert (received.sender, received.message) == (NODES[0], message)
    assert wire.open(data[1:], f"cluster/form-{KIND[type(message)]}")[0] == NODES[0]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_of_one_kind_is_none_of_another(message: Message) -> None:
    data = encode_message(SEEDS[0], CLUSTER_ID, message)
    for letter in b"pPaAnfd".replace(data[:1], b""):
        with pytest.raises(ClusterError):
            decode_message(bytes([letter]) + data[1:], CLUSTER_ID)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_of_another_cluster_is_refused(message: Message) -> None:
    with pytest.raises(ClusterError, match="another cluster"):
        decode_message(encode_message(SEEDS[0], "z" * 26, message), CLUSTER_ID)


@pytest.mark.parametrize("message", [Prepare(THEIRS), Accept(THEIRS, VALUE), Decided(THEIRS, {})])
def test_nobody_asks_in_the_ballot_of_another(message: Message) -> None:
    with pytest.raises(ClusterError, match="not its sender's"):
        decode_message(encode_message(SEEDS[0], CLUSTER_ID, message), CLUSTER_ID)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("prepare", {}),
        ("prepare", {"x": 1}),
        ("prepare", {"b": bytes(46)}),
        ("prepare", {"b": bytes(45)}),
        ("promise", {"h": bytes(6), "v": None}),
        ("promise", {"h": bytes(6), "v": VALUE, "w": None}),
        ("promise", {"h": bytes(6), "v": None, "w": encode_ballot(MINE)}),
        ("promise", {"h": bytes(5), "v": None, "w": None}),
        ("accept", {"v": bytes(881)}),
        ("accept", {"v": None}),
        ("accepted", {"g": bytes(31)}),
        ("nack", {"w": None}),
        ("formed", {"g": "ab" * 32}),
        ("decided", {"s": None}),
        ("decided", {"s": [bytes(95)]}),
        ("decided", {"s": [bytes(96)] * 2}),
        ("decided", {"s": [bytes([9 - i]) + bytes(95) for i in range(2)]}),
        ("decided", {"s": [bytes([i]) + bytes(95) for i in range(MAX_ACCEPTS + 1)]}),
    ],
)
def test_a_signed_message_with_bad_fields_is_refused(kind: str, body: dict[str, object]) -> None:

    whole = {"b": encode_ballot(MINE), "c": CLUSTER_ID, **body} if body else {"c": CLUSTER_ID}
    with pytest.raises(ClusterError):
        decode_message(LETTER[kind] + wire.seal(SEEDS[0], f"cluster/form-{kind}", whole), CLUSTER_ID)


def test_a_message_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(ClusterError, match="longer than 1130"):
        decode_message(b"p" + bytes(MAX_MESSAGE), CLUSTER_ID)


@given(st.sampled_from(MESSAGES), st.data())
def test_no_changed_message_is_taken(message: Message, data: st.DataObject) -> None:
    sent = bytearray(encode_message(SEEDS[0], CLUSTER_ID, message))
    sent[data.draw(st.integers(0, len(sent) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ClusterError):
        decode_message(bytes(sent), CLUSTER_ID)


@given(st.sampled_from([b"p", b"P", b"a", b"A", b"n", b"f", b"d", b""]), st.binary(max_size=200))
def test_garbage_is_no_message(letter: bytes, data: bytes) -> None:
    with pytest.raises(ClusterError):
        decode_message(letter + data, CLUSTER_ID)


@given(
    st.sampled_from(["prepare", "promise", "accept", "accepted", "nack", "formed", "decided"]),
    st.dictionaries(
        st.sampled_from("bcghsvwx"),
        st.none() | st.booleans() | st.integers(-9, 9) | st.binary(max_size=50) | st.text("ab", max_size=3),
    ),
)
def test_garbage_that_is_signed_is_refused_by_a_sentence(kind: str, body: dict[str, object]) -> None:

    with pytest.raises(ClusterError):
        envelope = wire.seal(SEEDS[0], f"cluster/form-{kind}", {"c": CLUSTER_ID, **body})
        decode_message(LETTER[kind] + envelope, CLUSTER_ID)
