# SPDX-License-Identifier: Apache-2.0
"""The connection between two replicas: only who holds the password is heard, and only as it spoke."""

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.election.channel import HELLO, MAX_FRAME, Channel, check_password
from agent.errors import ClusterError

PASSWORD = "dGhlIHBhc3N3b3JkIG9mIGEgY2x1c3RlciBpbiB0ZXN0cw=="
OTHER = "YW5vdGhlciBwYXNzd29yZCBvZiBhIGNsdXN0ZXIgaW4gdGU="


def ends(client: str = PASSWORD, server: str = PASSWORD) -> tuple[Channel, Channel]:
    return (
        Channel(client, client=True, nonce=os.urandom(32), name="observer 10.0.0.1:7950"),
        Channel(server, client=False, nonce=os.urandom(32), name="voter 10.0.0.2:7950"),
    )


def drain(channel: Channel) -> bytes:
    data = bytes(channel.outgoing)
    channel.outgoing.clear()
    return data


def connect(client: Channel, server: Channel) -> None:
    for _ in range(2):
        server.received(drain(client))
        client.received(drain(server))


def test_each_end_learns_who_the_other_is() -> None:
    client, server = ends()
    connect(client, server)
    assert client.peer == ("voter", "10.0.0.2:7950")
    assert server.peer == ("observer", "10.0.0.1:7950")


@given(messages=st.lists(st.binary(max_size=300), max_size=6), cuts=st.lists(st.integers(1, 40), min_size=1))
def test_messages_come_whole_and_in_order_however_the_bytes_are_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    client, server = ends()
    connect(client, server)
    for each in messages:
        client.send(each)
    data, found = drain(client), []
    while data:
        for cut in cuts:
            found += server.received(data[:cut])
            data = data[cut:]
    assert found == messages


def test_another_password_opens_nothing() -> None:
    client, server = ends(client=OTHER)
    server.received(drain(client))
    with pytest.raises(ClusterError, match="does not hold the Raft password"):
        client.received(drain(server))
    with pytest.raises(ClusterError, match="does not hold the Raft password"):
        server.received(drain(client))
    assert client.peer is None
    assert server.peer is None


@given(data=st.binary(min_size=1, max_size=400), after=st.sampled_from(["nothing", "hello", "name"]))
def test_garbage_ends_the_connection_or_waits_for_more_but_says_nothing(data: bytes, after: str) -> None:
    client, server = ends()
    if after == "hello":
        server.received(drain(client)[: len(HELLO) + 32])
    elif after == "name":
        connect(client, server)
    with suppress(ClusterError):
        assert server.received(data) == []
    assert (server.peer is not None) == (after == "name")


def test_a_stranger_cannot_make_it_wait_for_much() -> None:
    client, server = ends()
    server.received(drain(client)[: len(HELLO) + 32])
    with pytest.raises(ClusterError, match="longer than any"):
        server.received((1000).to_bytes(4, "big"))


def test_a_member_cannot_make_it_wait_for_more_than_a_message() -> None:
    client, server = ends()
    connect(client, server)
    with pytest.raises(ClusterError, match="longer than any"):
        server.received((MAX_FRAME + 1).to_bytes(4, "big"))


def test_what_is_repeated_reordered_sent_back_or_changed_does_not_open() -> None:
    client, server = ends()
    connect(client, server)
    client.send(b"one")
    one = drain(client)
    client.send(b"two")
    two = drain(client)
    assert server.received(one) == [b"one"]
    for wrong in (one, two[:-1] + bytes([two[-1] ^ 1])):
        with pytest.raises(ClusterError):
            server.received(wrong)
    with pytest.raises(ClusterError):
        client.received(two)


def test_a_recorded_connection_cannot_be_played_again() -> None:
    client, server = ends()
    hello = drain(client)
    server.received(hello)
    client.received(drain(server))
    name = drain(client)
    _, another = ends()
    another.received(hello)
    with pytest.raises(ClusterError):
        another.received(name)


def test_a_mirror_is_noticed() -> None:
    client, _ = ends()
    with pytest.raises(ClusterError, match="repeats"):
        client.received(bytes(client.outgoing))


@pytest.mark.parametrize("name", ["boss 10.0.0.1:7950", "voter", "voter host:1", "voter 10.0.0.1:7950 x", ""])
def test_a_name_that_no_replica_could_have_is_refused(name: str) -> None:
    client, server = ends()
    client = Channel(PASSWORD, client=True, nonce=os.urandom(32), name=name)
    server.received(drain(client))
    client.received(drain(server))
    with pytest.raises(ClusterError, match="no name"):
        server.received(drain(client))


def test_a_password_that_is_no_key_is_refused() -> None:
    with pytest.raises(ClusterError, match="too short"):
        check_password("secret")
    check_password(PASSWORD)
