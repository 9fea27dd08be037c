# SPDX-License-Identifier: Apache-2.0
"""At which of its addresses a peer is tried, and when each peer was last heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cluster import MeshPeer, Peer
from agent.mesh.endpoints import MAX_CANDIDATES, PATIENCE, choose_endpoint, list_candidates
from agent.mesh.sessions import LIVE_SECONDS, Endpoint, Session, follow_sessions, is_live

MESH = ("10.77.0.0/16", "fd11:2233:4455::/64")
A, B, C = ("192.0.2.1", 51820), ("192.0.2.2", 51820), ("2001:db8::3", 51820)


def gossip(address: str, *further: str, port: int = 51820) -> Peer:
    return Peer("n", "id", "0" * 12, address, True, "m", None, port, further, False, 0.0)


def peer(handshake: int | None, endpoint: Endpoint | None = None) -> MeshPeer:
    return MeshPeer("k", (), endpoint, 25, handshake)


def test_the_address_that_gossip_sees_comes_first_then_the_announced_then_what_was_known() -> None:
    found = list_candidates(gossip("192.0.2.1", "192.0.2.2", "192.0.2.1"), [C, B], MESH)
    assert found == (A, B, C)


@pytest.mark.parametrize(
    "address",
    [
        "10.77.3.4",
        "fd11:2233:4455::9",
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "224.0.0.251",
        "255.255.255.255",
        "fe80::1",
        "::ffff:10.77.0.1",
        "no address",
        "",
    ],
)
def test_an_address_where_no_other_machine_can_be_is_not_tried(address: str) -> None:
    assert list_candidates(gossip(address, address), [(address, 51820)], MESH) == ()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none_is_not_tried(port: int) -> None:
    assert list_candidates(gossip("192.0.2.1", port=port), [("192.0.2.1", port)], MESH) == ()


def test_two_ways_to_write_an_address_are_one_candidate() -> None:
    found = list_candidates(gossip("2001:DB8:0::3", "::ffff:192.0.2.1"), [A, C], MESH)
    assert found == (C, A)


def test_a_peer_that_announces_a_hundred_addresses_is_tried_at_some() -> None:
    many = [f"192.0.2.{number}" for number in range(100)]
    assert len(list_candidates(gossip(*many), [], MESH)) == MAX_CANDIDATES


def test_a_new_peer_is_tried_at_its_first_address_at_once() -> None:
    assert choose_endpoint([A, B], None, None, 0.0, 50.0) == A


def test_without_a_handshake_the_addresses_are_tried_in_turn() -> None:
    session = Session(None, 100.0)
    times = [100.0 + PATIENCE * step for step in (0, 0.9, 1, 1.9, 2, 3)]
    chosen = [choose_endpoint([A, B, C], session, None, 0.0, now) for now in times]
    assert chosen == [A, A, B, B, C, A]


def test_a_session_that_died_is_tried_again_from_the_first_address_on() -> None:
    session = Session(7, 100.0, C)
    dead = 100.0 + LIVE_SECONDS
    assert choose_endpoint([A, B], session, C, 0.0, dead - 0.1) == C
    assert choose_endpoint([A, B], session, C, 0.0, dead) == A
    assert choose_endpoint([A, B], session, A, 0.0, dead + PATIENCE) == B


def test_a_peer_that_gossip_does_not_see_alive_is_left_where_it_was() -> None:
    assert choose_endpoint([A, B], Session(7, 0.0, C), C, None, 9999.0) == C
    assert choose_endpoint([A, B], None, None, None, 9999.0) == A


def test_a_peer_that_comes_back_is_tried_first_where_gossip_sees_it() -> None:
    """However long it was away."""
    for away in range(0, 100, 7):
        back = 1000.0 + away
        assert choose_endpoint([A, B, C], Session(7, 0.0, C), C, back, back) == A


def test_without_any_candidate_the_endpoint_stays() -> None:
    assert choose_endpoint([], Session(7, 0.0, C), C, 0.0, 9999.0) == C
    assert choose_endpoint([], None, None, 0.0, 9999.0) is None


@given(st.floats(0, 1e6), st.floats(0, LIVE_SECONDS, exclude_max=True), st.floats(0, 1e6))
def test_a_live_endpoint_stays_whatever_is_said_and_whenever(since: float, age: float, alive: float) -> None:
    now = since + age
    session = Session(7, since, C)
    if is_live(session, now):
        assert choose_endpoint([A, B], session, C, alive, now) == C


def test_an_age_counts_from_when_the_handshake_was_seen_even_if_the_clock_jumps_a_day() -> None:
    first = follow_sessions({}, {"k": peer(None)}, now=10.0, wall=5e9)
    assert first["k"] == Session(None, 10.0)
    second = follow_sessions(first, {"k": peer(500, A)}, now=12.0, wall=500.0)
    assert second["k"] == Session(500, 12.0, A)
    jumped = follow_sessions(second, {"k": peer(500, B)}, now=100.0, wall=500.0 + 86400)
    assert jumped["k"] == Session(500, 12.0, A)
    assert is_live(jumped["k"], 100.0)
    # The clock was set back: a new handshake has an earlier time than the last one.
    again = follow_sessions(jumped, {"k": peer(3, B)}, now=130.0, wall=3.0)
    assert again["k"] == Session(3, 130.0, B)


@pytest.mark.parametrize(("wall", "age"), [(560.0, 60.0), (400.0, 0.0), (86900.0, 86400.0)])
def test_the_first_look_at_a_session_takes_its_age_from_the_wall_clock(wall: float, age: float) -> None:
    found = follow_sessions({}, {"k": peer(500, A)}, now=1000.0, wall=wall)
    assert found["k"] == Session(500, 1000.0 - age, A)


def test_an_interface_made_anew_has_no_session_but_remembers_where_the_peer_was() -> None:
    before = {"k": Session(500, 12.0, A)}
    found = follow_sessions(before, {"k": peer(None, B)}, now=20.0, wall=520.0)
    assert found["k"] == Session(None, 20.0, A)


def test_a_peer_that_is_gone_is_forgotten() -> None:
    assert follow_sessions({"k": Session(500, 12.0, A)}, {}, now=20.0, wall=520.0) == {}
