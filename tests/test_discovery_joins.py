# SPDX-License-Identifier: Apache-2.0
"""Whom a node joins, when, and where it learns of them."""

from itertools import pairwise
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.discovery import join_plan
from agent.discovery.join_plan import Attempt, Candidate, forget, note, plan_joins, record
from agent.discovery.seeds import Found, Resolver, check_srv_name, parse_seed, resolve
from agent.discovery.underlay import UnderlayAddress, choose_advertised, list_reachable
from agent.errors import ClusterError

A, B, V6 = "10.0.0.1:7946", "10.0.0.2:7946", "[2001:db8::1]:7946"


def plan(
    candidates: dict[str, Candidate],
    attempts: dict[str, Attempt],
    now: float,
    *,
    alive: tuple[str, ...] = (),
    own: tuple[str, ...] = (),
) -> tuple[str, ...]:
    return plan_joins(candidates, alive, attempts, now, own=own, name="node")


def tries_until(end: float, *, alive: tuple[str, ...] = ()) -> list[float]:
    """Return when address A is tried, looked at ten times a second, with no try changing anything."""
    candidates, attempts = note({}, [A], 0.0), dict[str, Attempt]()
    times = []
    for tick in range(int(end * 10)):
        now = tick / 10
        candidates = note(candidates, [A], now)
        for address in plan(candidates, attempts, now, alive=alive):
            attempts = record(attempts, address, candidates, now)
            times.append(now)
    return times


def test_a_new_address_is_joined_at_once() -> None:
    assert plan(note({}, [A, B], 5.0), {}, 5.0) == (A, B)


def test_a_node_never_joins_itself_in_whatever_form() -> None:
    candidates = note({}, [A, V6, "10.0.0.1:7947"], 0.0)
    assert plan(candidates, {}, 0.0, own=(A, "[2001:0db8::0001]:7946")) == ("10.0.0.1:7947",)


def test_who_is_alive_is_not_joined_again() -> None:
    assert plan(note({}, [A, B], 0.0), {}, 0.0, alive=(B,)) == (A,)


def test_waits_grow_and_then_stay() -> None:
    times = tries_until(900.0, alive=(B,))
    waits = [after - before for before, after in pairwise(times)]
    assert waits[0] <= join_plan.FIRST_SECONDS + 0.2
    assert all(wait <= join_plan.LAST_SECONDS + 0.2 for wait in waits)
    assert min(waits[-4:]) >= join_plan.LAST_SECONDS / 2
    assert 10 < len(times) < 25


def test_a_node_that_sees_nobody_tries_more_often() -> None:
    alone = tries_until(300.0)
    assert len(alone) > 2 * len(tries_until(300.0, alive=(B,)))
    assert alone[1] <= join_plan.ALONE_SECONDS + 0.2


def test_news_of_an_address_end_the_waiting() -> None:
    candidates = note({}, [A], 0.0)
    attempts = {A: Attempt(100.0, 9)}
    assert plan(candidates, attempts, 101.0) == ()
    assert plan(note(candidates, [A], 101.0), attempts, 101.0) == ()
    news = note(candidates, [A], 101.0, news=True)
    assert plan(news, attempts, 101.0) == (A,)
    assert record(attempts, A, news, 101.0) == {A: Attempt(101.0, 1)}


def test_an_address_that_nobody_speaks_of_is_forgotten() -> None:
    candidates = note(note({}, [A, B], 0.0), [B], 3000.0)
    late = join_plan.FORGET_SECONDS + 1
    assert plan(candidates, {}, late) == (B,)
    kept = forget(candidates, late)
    assert list(kept) == [B]
    assert list(record({A: Attempt(0.0, 1)}, B, kept, late)) == [B]


def test_a_flood_of_addresses_is_not_kept() -> None:
    flood = [f"10.{n >> 8}.{n & 255}.1:7946" for n in range(2000)]
    candidates = note(note({}, [A], 0.0), flood, 1.0)
    assert len(candidates) == join_plan.MAX_CANDIDATES
    assert plan(candidates, {}, 1.0)[0] == A


@given(st.integers(1, 60), st.integers(0, 30))
def test_only_a_few_are_joined_at_once_and_all_have_their_turn(count: int, tries: int) -> None:
    candidates = note({}, [f"10.0.0.{n}:7946" for n in range(count)], 0.0)
    attempts = {address: Attempt(0.0, tries + 1) for address in candidates}
    joined: set[str] = set()
    for step in range(count):
        now = 1000.0 + step
        due = plan(candidates, attempts, now)
        assert len(due) <= join_plan.AT_ONCE
        for address in due:
            attempts = record(attempts, address, candidates, now)
            joined.add(address)
    assert joined == set(candidates)


def test_machines_that_start_together_do_not_knock_together() -> None:
    waits = set()
    for name in map(str, range(20)):
        now = 0.0
        while not plan_joins({A: Candidate(A, 0, 0)}, (), {A: Attempt(0.0, 5)}, now, own=(), name=name):
            now += 0.1
        waits.add(round(now, 1))
    assert len(waits) > 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node1", ("node1", 7946)),
        ("node1.example.org:7000", ("node1.example.org", 7000)),
        ("10.0.0.1", ("10.0.0.1", 7946)),
        ("2001:db8::1", ("2001:db8::1", 7946)),
        ("[2001:db8::1]", ("2001:db8::1", 7946)),
        ("[2001:db8::1]:7000", ("2001:db8::1", 7000)),
    ],
)
def test_a_seed_is_a_host_with_or_without_a_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_seed(text, 7946) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":7946",
        "a:",
        "a:0",
        "a:65536",
        "a b",
        "-a",
        "a..b",
        "[node1]:1",
        "[::1",
        "a:b:c",
        "x" * 300,
        "a/b",
        "a\n",
    ],
)
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="is not a seed"):
        parse_seed(text, 7946)


@given(st.text(max_size=40))
def test_no_text_does_anything_but_give_a_seed_or_an_error(text: str) -> None:
    try:
        host, port = parse_seed(text, 7946)
    except ClusterError:
        return
    assert host in text
    assert 0 < port < 65536


def test_seeds_are_resolved_and_each_failure_is_told() -> None:
    found = resolve(["127.0.0.1:7001", "::1", "a b", "127.0.0.1:7001"], "no name", 7946)
    assert found.addresses == ("127.0.0.1:7001", "[::1]:7946")
    assert found.failures == ("'a b' is not a seed", "'no name' is not a DNS name")


def test_the_resolver_works_beside_its_caller() -> None:
    found: SimpleQueue[Found] = SimpleQueue()
    resolver = Resolver(["127.0.0.1"], None, 7946, found.put)
    for _ in range(2):
        assert resolver.start()
        assert found.get(timeout=10) == Found(("127.0.0.1:7946",), ())
    assert not Resolver([], None, 7946, found.put).start()


def test_names_of_srv_records_are_checked() -> None:
    check_srv_name("_cluster-os._udp.example.org.")
    for text in ("", "seeds", "a b.c", "x" * 64 + ".org"):
        with pytest.raises(ClusterError, match="is not a DNS name"):
            check_srv_name(text)


def test_reachable_addresses_are_those_of_the_underlay_the_likeliest_first() -> None:
    names = [
        ("eth0", "fe80::1"),
        ("eth0", "2001:db8::1"),
        ("eth1", "169.254.7.7"),
        ("eth1", "10.0.0.9"),
        ("eth0", "10.0.0.10"),
        ("lo", "127.0.0.1"),
        ("mesh0", "10.99.0.1"),
        ("cni0", "10.42.0.1"),
    ]
    found = list_reachable(UnderlayAddress(name, 1, address) for name, address in names)
    assert found == ("10.0.0.9", "10.0.0.10", "2001:db8::1", "169.254.7.7")


def test_the_advertised_address_stays_as_long_as_the_machine_has_it() -> None:
    reachable = ("10.0.0.9", "10.0.0.10")
    assert choose_advertised(reachable, None, None) == "10.0.0.9"
    assert choose_advertised(reachable, "10.0.0.10", None) == "10.0.0.10"
    assert choose_advertised(reachable, "10.0.0.10", "10.0.0.9") == "10.0.0.9"
    assert choose_advertised(reachable, "192.0.2.1", "192.0.2.2") == "10.0.0.9"
    assert choose_advertised((), None, "10.0.0.9") is None
