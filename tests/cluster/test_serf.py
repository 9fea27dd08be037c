# SPDX-License-Identifier: Apache-2.0
"""Our client against the real Serf: three of them and more, each in a network namespace."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from queue import SimpleQueue

import pytest

from agent.cluster import Phase
from agent.discovery.clones import find_clones
from agent.discovery.joiner import Joiner
from agent.discovery.query_size import ANSWER_ROOM, QUERY_BYTES, query_room
from agent.discovery.serf_records import (
    Lost,
    MembersChanged,
    MembersLogged,
    QueryAnswer,
    QueryDone,
    QueryReceived,
    UserEvent,
)
from agent.discovery.serf_rpc import SerfRpc
from agent.discovery.tags import MAX_BYTES, measure
from agent.errors import ClusterError
from harness import processes
from harness.waiting import wait_for
from image.toolstree import ToolsTree
from tests.cluster.gossip import GENESIS, GOSSIP_PORT, RPC_PORT, Gossiper
from tests.cluster.switch import Switch

KEY = bytes(range(32))
SPREAD_LIMIT = 15.0
"""Seconds in which news reach all; with three nodes it takes less than one."""


@pytest.fixture(scope="module")
def gossipers(tools: ToolsTree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gossiper]]:
    """Three that have joined, one that has not, one with another gossip key."""
    folder = tmp_path_factory.mktemp("gossip")
    switch = Switch(folder)
    started: list[Gossiper] = []
    try:
        for number in range(1, 6):
            key = bytes(32) if number == 5 else KEY
            started.append(Gossiper(number, folder, switch, tools, key))
        for gossiper in started:
            gossiper.start()
        for gossiper in started[1:3]:
            assert gossiper.call(gossiper.rpc.join, [started[0].gossip_address]) == 1
        wait_for_alive(started[:3])
        yield started
    finally:
        for gossiper in started:
            gossiper.end()
        processes.end_all(folder, grace=2)


@pytest.fixture
def three(gossipers: list[Gossiper]) -> list[Gossiper]:
    return gossipers[:3]


def wait_for_alive(gossipers: list[Gossiper]) -> None:
    alive = {gossiper.name: "alive" for gossiper in gossipers}
    wait_for(
        "all to see all", lambda: all(gossiper.statuses() == alive for gossiper in gossipers), SPREAD_LIMIT
    )


def test_nodes_that_joined_are_peers_of_each_other(three: list[Gossiper]) -> None:
    for gossiper in three:
        roster = gossiper.roster()
        assert [peer.name for peer in roster.peers] == sorted(other.name for other in three)
        assert {peer.address for peer in roster.peers} == {other.address for other in three}
        assert {(peer.phase, peer.genesis, peer.alive) for peer in roster.peers} == {("f", None, True)}
        assert roster.strangers == ()


def test_new_tags_reach_all_and_wake_them(three: list[Gossiper]) -> None:
    first, second, _ = three
    first.call(first.rpc.set_tags, first.tags(Phase.MEMBER))
    event = second.expect(MembersChanged, lambda event: event.kind == "member-update")
    assert first.name in {member.name for member in event.members}
    peer = next(peer for peer in second.roster().peers if peer.name == first.name)
    assert (peer.phase, peer.genesis) == ("m", GENESIS)
    # A tag that no longer holds must be deleted by name.
    first.call(first.rpc.set_tags, first.tags(Phase.FORMING), delete=["g"])
    wait_for(
        "the tag to go",
        lambda: all(peer.genesis is None for peer in second.roster().peers),
        SPREAD_LIMIT,
    )


def test_tags_count_as_serf_counts_them(three: list[Gossiper]) -> None:
    tags = dict(three[0].tags(Phase.MEMBER))
    room = MAX_BYTES - measure({**tags, "x": "y" * 32}) + 32
    full = {**tags, "x": "y" * room}
    assert measure(full) == MAX_BYTES
    three[0].call(three[0].rpc.set_tags, full)
    with pytest.raises(ClusterError, match=r"Serf refuses tags: .* exceeds limit of 512 bytes"):
        three[0].call(three[0].rpc.set_tags, {**full, "x": "y" * (room + 1)})
    assert three[0].members()[three[0].name].tags == full
    three[0].call(three[0].rpc.set_tags, three[0].tags(Phase.FORMING), delete=["x", "g"])


def test_a_query_is_answered_by_all(three: list[Gossiper]) -> None:
    first, *others = three
    query = first.call(first.rpc.query, "cos-form", b"who?", seconds=2)
    for other in others:
        received = other.expect(QueryReceived)
        assert (received.name, received.payload) == ("cos-form", b"who?")
        other.call(other.rpc.respond, received.id, other.name.encode())
    answers = {first.expect(QueryAnswer).node for _ in others}
    assert answers == {other.name for other in others}
    assert first.expect(QueryDone, lambda event: event.query == query)


def test_a_query_to_one_node_reaches_that_one_only(three: list[Gossiper]) -> None:
    first, second, third = three
    query = first.call(first.rpc.query, "cos-blob", b"one", nodes=[second.name], seconds=2)
    second.expect(QueryReceived, lambda event: event.payload == b"one")
    done = first.expect(QueryDone, lambda event: event.query == query)
    assert done.query == query
    seen = []
    while not third.events.empty():
        seen.append(third.events.get())
    assert not [event for event in seen if isinstance(event, QueryReceived) and event.payload == b"one"]


def test_the_largest_query_and_answer_arrive_and_larger_ones_are_refused(three: list[Gossiper]) -> None:
    first, second, _ = three
    # Random, as memberlist compresses.
    question, answer = os.urandom(query_room([second.name])), os.urandom(ANSWER_ROOM)
    query = first.call(first.rpc.query, "cos-blob", question, nodes=[second.name], seconds=5)
    received = second.expect(QueryReceived, lambda event: event.payload == question)
    with pytest.raises(ClusterError, match=f"response exceeds limit of {QUERY_BYTES} bytes"):
        second.call(second.rpc.respond, received.id, bytes(QUERY_BYTES))
    second.call(second.rpc.respond, received.id, answer)
    assert first.expect(QueryAnswer) == QueryAnswer(query, second.name, answer)
    with pytest.raises(ClusterError, match=f"Serf refuses query: query exceeds limit of {QUERY_BYTES} bytes"):
        first.call(first.rpc.query, "cos-blob", bytes(QUERY_BYTES - 100))
    with pytest.raises(ClusterError, match="Serf refuses respond"):
        second.call(second.rpc.respond, received.id, b"once more")


def test_a_user_event_reaches_all_and_a_large_one_is_refused(three: list[Gossiper]) -> None:
    three[0].call(three[0].rpc.send_event, "wake", b"up")
    assert [other.expect(UserEvent) for other in three] == [UserEvent("wake", b"up")] * 3
    with pytest.raises(ClusterError, match="Serf refuses event: user event exceeds"):
        three[0].call(three[0].rpc.send_event, "wake", bytes(600))


def test_a_wrong_key_for_the_rpc_is_told_and_changes_nothing(three: list[Gossiper]) -> None:
    intruder = SerfRpc("wrong", lambda event: None)
    with pytest.raises(ClusterError, match="Serf refuses auth: Invalid authentication token"):
        three[0].call(intruder.connect)
    assert not intruder.connected
    with pytest.raises(ClusterError, match="not connected to Serf"):
        three[0].call(intruder.members)
    assert len(three[0].members()) == 3


def test_nobody_at_an_address_is_an_error_in_time_and_does_not_delay_other_commands(
    three: list[Gossiper],
) -> None:
    with pytest.raises(ClusterError, match=r"Serf refuses join: .*connection refused"):
        three[0].call(three[0].rpc.join, [f"{three[1].address}:9"])
    assert len(three[0].members()) == 3


def test_an_address_without_a_machine_delays_no_other_join(three: list[Gossiper]) -> None:
    first, second, _ = three
    results: SimpleQueue[tuple[str, str]] = SimpleQueue()
    joiner = Joiner(first.rpc.join, lambda address, error: results.put((address, error)))
    nobody = "10.55.0.200:7946"
    assert first.call(joiner.start, nobody)
    assert not first.call(joiner.start, nobody)
    assert first.call(joiner.start, second.gossip_address)
    assert results.get(timeout=10) == (second.gossip_address, "")
    assert len(first.members()) == 3
    address, error = results.get(timeout=20)
    assert address == nobody
    assert error.startswith("nobody answers on 10.55.0.200:7946: ")


def test_another_gossip_key_does_not_get_in_and_learns_nothing(gossipers: list[Gossiper]) -> None:
    stranger = gossipers[4]
    with pytest.raises(ClusterError, match="Serf refuses join"):
        stranger.call(stranger.rpc.join, [gossipers[0].gossip_address])
    assert list(stranger.members()) == [stranger.name]
    assert stranger.name not in gossipers[0].members()


def test_garbage_on_the_gossip_port_and_on_the_rpc_does_no_harm(three: list[Gossiper]) -> None:
    first, second, _ = three
    pieces = [
        b"",
        b"\0" * 100,
        b"\x09" + os.urandom(600),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x06\xff\xff",
        b"\x91" * 900,
    ]

    def throw() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            for piece in pieces * 5:
                datagrams.sendto(piece, (first.address, GOSSIP_PORT))
        for piece in pieces:
            with socket.create_connection((first.address, GOSSIP_PORT), timeout=5) as stream:
                stream.sendall(piece)

    def throw_at_rpc() -> None:
        for piece in pieces:
            with socket.create_connection(("127.0.0.1", RPC_PORT), timeout=5) as stream:
                stream.sendall(piece)

    second.call(throw)
    first.call(throw_at_rpc)
    assert first.rpc.connected
    assert set(first.statuses().values()) == {"alive"}
    query = second.call(second.rpc.query, "cos-form", b"still there?", seconds=2)
    received = first.expect(QueryReceived, lambda event: event.payload == b"still there?")
    first.call(first.rpc.respond, received.id, b"yes")
    assert second.expect(QueryAnswer) == QueryAnswer(query, first.name, b"yes")


# Before the clone comes: with a fourth name in its list Serf asks others before it calls a node failed.
def test_a_node_that_dies_is_noticed_and_one_that_restarts_comes_back(gossipers: list[Gossiper]) -> None:
    first, second, third = gossipers[:3]
    first.call(first.rpc.monitor)
    third.signal(signal.SIGKILL)
    assert "closed the connection" in third.expect(Lost).error.message
    assert not third.rpc.connected
    with pytest.raises(ClusterError, match="lost the connection to Serf"):
        third.call(third.rpc.members)
    # Its log tells before the event does.
    first.expect(MembersLogged, lambda _: first.statuses()[third.name] == "failed", 30)
    event = first.expect(
        MembersChanged,
        lambda event: event.kind == "member-failed" and event.members[0].name == third.name,
        30,
    )
    assert event.members[0].status == "failed"
    assert not next(peer for peer in first.roster().peers if peer.name == third.name).alive
    third.start()
    third.call(third.rpc.join, [second.gossip_address])
    wait_for("its return", lambda: first.statuses()[third.name] == "alive", SPREAD_LIMIT)


def test_a_serf_that_is_stopped_and_started_has_not_left(three: list[Gossiper]) -> None:
    first, second, _ = three
    second.signal(signal.SIGTERM)
    second.expect(Lost)
    assert first.statuses()[second.name] in ("alive", "failed")
    second.start()
    second.call(second.rpc.join, [first.gossip_address])
    wait_for("its return", lambda: first.statuses()[second.name] == "alive", SPREAD_LIMIT)
    assert not any("member-leave" in line and second.name in line for line in first.log().splitlines())


def test_a_serf_that_hangs_does_not_hang_us(three: list[Gossiper]) -> None:
    first = three[0]
    impatient = SerfRpc(first.settings.rpc_auth, lambda event: None, time_limit=0.5)
    first.call(impatient.connect)
    first.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(ClusterError, match=r"no answer to members in 0\.5 s"):
            first.call(impatient.members)
        with pytest.raises(ClusterError):
            first.call(impatient.connect)
        assert time.monotonic() - begun < 5
    finally:
        first.signal(signal.SIGCONT)
    first.call(impatient.connect)
    assert len(first.call(impatient.members)) >= 3
    impatient.close()


def test_a_copied_disk_is_seen_beside_its_original(gossipers: list[Gossiper]) -> None:
    original, other = gossipers[:2]
    copy = original.clone(6)
    try:
        copy.start()
        copy.call(copy.rpc.join, [original.gossip_address])

        def noticed() -> bool:
            return [clone.names for clone in find_clones(other.roster().peers)] == [
                tuple(sorted((original.name, copy.name)))
            ]

        wait_for("the clone to be seen", noticed, SPREAD_LIMIT)
        assert other.statuses()[original.name] == "alive"
        copy.call(copy.rpc.leave)
        wait_for("the clone to leave", lambda: other.statuses()[copy.name] == "left", SPREAD_LIMIT)
    finally:
        copy.end()


@pytest.mark.parametrize("form", ["quiet", "advertised by Serf", "both families"])
def test_serf_takes_every_form_of_our_configuration(gossipers: list[Gossiper], form: str) -> None:
    lonely = gossipers[3]
    settings = lonely.settings
    forms = {
        "quiet": replace(settings, log_level="error"),
        "advertised by Serf": replace(settings, advertise=None),
        "both families": replace(settings, bind_address="::"),
    }
    lonely.signal(signal.SIGTERM)
    lonely.settings = forms[form]
    try:
        lonely.start()
        assert lonely.members()[lonely.name].address == lonely.address
        assert lonely.call(lonely.rpc.stats)["serf"]["encrypted"] == "true"
    finally:
        lonely.settings = settings


def test_a_node_that_leaves_before_it_moves_is_back_at_once(three: list[Gossiper]) -> None:
    first, _, third = three
    third.move("10.55.0.33")
    third.call(third.rpc.leave)
    third.wait_end()
    third.start()
    third.call(third.rpc.join, [first.gossip_address])

    def moved() -> bool:
        members = [gossiper.members()[third.name] for gossiper in three]
        return {(member.status, member.address) for member in members} == {("alive", third.address)}

    wait_for("all to see the new address", moved, SPREAD_LIMIT)
