# SPDX-License-Identifier: Apache-2.0
"""Which members run a role of kind servers: decisions, and what holds after any course of events."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from agent.cluster import Ledger, Servers
from agent.membership import commands
from agent.membership.ledger import reduce
from agent.membership.ledger_servers import servers_of
from agent.roles.servers import Limits, describe, find_lease_candidates, may_be_chosen, plan, watch
from tests.small_cluster import NODES, Log, make_genesis

LIMITS = Limits(count=3, replace_after=100.0)
GENESIS = make_genesis()


@dataclass
class World:
    """A cluster of eight members, and a leader that does as it decides."""

    limits: Limits = LIMITS
    ledger: Ledger = field(default_factory=lambda: Log(GENESIS).admit(*NODES[3:]).ledger)
    alive: set[str] = field(default_factory=lambda: set(NODES))
    away: dict[str, float] = field(default_factory=dict)
    now: float = 0.0

    def apply(self, command: bytes) -> bool:
        self.ledger, result = reduce(self.ledger, command, GENESIS)
        return result.applied

    def decide(self) -> tuple[str, str] | None:
        self.away = dict(watch(self.away, self.ledger, self.alive, self.now))
        able = [node for node in NODES if node in self.alive and node in self.ledger.members]
        step = plan("db", self.limits, self.ledger, able=able, away=self.away, now=self.now).step
        return (step.kind, step.node) if step is not None else None

    def act(self) -> None:
        """Let the leader take its next step."""
        step = self.decide()
        if step is not None:
            make = commands.servers_choose if step[0] == "choose" else commands.servers_drop
            assert self.apply(make(self.ledger, "db", step[1])), "the ledger takes what is decided"

    def report(self) -> None:
        """Let a chosen server that is there say that it runs, and let go of whoever went."""
        for server in self.servers.nodes:
            if server.node_id in self.alive and not server.ready:
                self.apply(commands.servers_ready(self.ledger, "db", server.node_id))
        if set(self.servers.ready) & self.alive:
            for node in self.servers.gone:
                self.apply(commands.servers_let_go(self.ledger, "db", node))

    def settle(self) -> list[str]:
        for _ in range(20):
            self.act()
            self.report()
        return self.names

    @property
    def servers(self) -> Servers:
        return servers_of(self.ledger, "db")

    @property
    def names(self) -> list[str]:
        return [server.node_id for server in self.servers.nodes]


def few(number: int) -> World:
    """A world of which only so many members qualify."""
    world = World()
    world.alive = set(NODES[:number])
    return world


def test_as_many_as_qualify_rounded_down_to_an_odd_number() -> None:
    assert [len(few(number).settle()) for number in range(6)] == [0, 1, 1, 3, 3, 3]
    five = World(limits=Limits(5, 100.0))
    assert len(five.settle()) == 5


def test_each_is_chosen_after_all_before_it_run() -> None:
    world = World()
    assert world.decide() == ("choose", NODES[0])
    world.act()
    assert world.decide() is None
    world.report()
    assert world.decide() == ("choose", NODES[1])
    world.act()
    world.act()
    assert world.names == list(NODES[:2])


def test_one_that_is_away_is_waited_for_and_then_replaced() -> None:
    world = World()
    world.settle()
    lost = world.names[1]
    world.alive.discard(lost)
    world.now = 50.0
    assert world.decide() is None
    world.now = 149.0
    assert world.decide() is None, "it was seen 99 s ago"
    world.now = 151.0
    assert world.decide() == ("drop", lost)
    world.act()
    assert world.decide() is None, "the role has not let go of it"
    assert lost not in world.settle()
    assert len(world.names) == 3


def test_one_that_comes_back_in_time_stays() -> None:
    world = World()
    before = world.settle()
    world.alive.discard(before[0])
    world.now = 90.0
    world.decide()
    world.alive.add(before[0])
    world.now = 95.0
    world.decide()
    world.alive.discard(before[0])
    world.now = 190.0
    assert world.decide() is None
    assert world.names == before


def test_without_a_majority_nothing_changes() -> None:
    world = World()
    before = world.settle()
    world.alive -= set(before[:2])
    world.now = 10_000.0
    world.decide()
    world.now = 20_000.0
    assert world.decide() is None


def test_one_that_is_away_is_not_dropped_for_nobody() -> None:
    world = few(3)
    before = world.settle()
    world.alive.discard(before[2])
    world.decide()
    world.now = 10_000.0
    assert world.decide() is None
    assert world.names == before


def test_who_never_joined_is_not_waited_for_forever() -> None:
    world = World()
    world.act()
    world.report()
    world.act()
    joiner = world.names[1]
    world.alive.discard(joiner)
    world.decide()
    world.now = 101.0
    assert world.decide() == ("drop", joiner)


def test_two_that_are_left_stay_two_until_a_third_qualifies() -> None:
    world = few(3)
    first, second, third = world.settle()
    world.apply(commands.remove(third))
    world.alive.discard(third)
    assert world.settle() == [first, second]
    world.alive.add(NODES[3])
    assert world.settle() == [first, second, NODES[3]]


def test_when_the_first_is_gone_before_it_ran_nobody_begins_and_it_is_said() -> None:
    world = World()
    world.act()
    (first,) = world.names
    world.alive.discard(first)
    world.now = 10_000.0
    world.settle()
    world.now = 20_000.0
    assert world.settle() == [first]
    world.apply(commands.remove(first))
    assert world.settle() == []
    assert "node-agent role reset" in describe(world.servers)
    world.apply(commands.servers_reset("db", 1))
    assert len(world.settle()) == 3
    assert first not in world.names


def test_the_lease_is_at_who_begins_and_then_at_one_that_runs() -> None:
    world = World()
    world.act()
    first = world.names[0]
    assert find_lease_candidates(world.servers, NODES) == [first]
    world.report()
    world.act()
    assert find_lease_candidates(world.servers, NODES) == [first]
    world.report()
    assert find_lease_candidates(world.servers, NODES) == world.names
    assert find_lease_candidates(world.servers, [world.names[1]]) == [world.names[1]]


def test_a_member_knows_that_it_is_going_to_be_chosen() -> None:
    world = few(4)
    world.act()
    world.report()
    servers = world.servers
    assert may_be_chosen(NODES[1], 3, servers, NODES[:3])
    assert not may_be_chosen(NODES[0], 3, servers, NODES[:3]), "it is one"
    assert not may_be_chosen(NODES[4], 3, servers, NODES[:3]), "it does not qualify"
    assert not may_be_chosen(NODES[1], 3, servers, NODES[:2]), "of two one is enough"
    world.settle()
    assert not may_be_chosen(NODES[3], 3, world.servers, NODES[:4])


EVENTS = st.one_of(
    st.tuples(st.just("act")),
    st.tuples(st.just("act")),
    st.tuples(st.just("report")),
    st.tuples(st.just("report")),
    st.tuples(st.just("down"), st.sampled_from(NODES)),
    st.tuples(st.just("up"), st.sampled_from(NODES)),
    st.tuples(st.just("remove"), st.sampled_from(NODES)),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 60.0, 200.0])),
    st.tuples(st.just("reset")),
    st.tuples(st.just("leader")),
)


def happen(world: World, event: tuple[str, ...]) -> None:
    kind, *rest = event
    if kind in ("act", "report"):
        getattr(world, kind)()
    elif kind == "down":
        world.alive.discard(rest[0])
    elif kind == "up":
        world.alive |= set(rest) & world.ledger.members.keys()
    elif kind == "remove" and world.apply(commands.remove(rest[0])):
        world.alive.discard(rest[0])
    elif kind == "wait":
        world.now += float(rest[0])
    elif kind == "reset":
        world.apply(commands.servers_reset("db", world.servers.generation))
    elif kind == "leader":
        world.away = {}


@given(st.sampled_from([1, 3, 5]), st.lists(EVENTS, min_size=10, max_size=120))
def test_no_course_of_events_has_two_begin_or_breaks_what_is_promised(
    count: int, events: Iterable[tuple[str, ...]]
) -> None:
    world = World(limits=Limits(count, 100.0))
    firsts: dict[int, set[str]] = {}
    for event in events:
        before, had = world.servers, set(world.names)
        members = set(world.ledger.members)
        happen(world, event)
        after, has = world.servers, set(world.names)
        firsts.setdefault(after.generation, set()).update({after.first} if after.first else ())
        assert len(firsts[after.generation]) <= 1, "two begin it"
        assert len(has) <= count
        if event[0] == "act":
            assert len(had ^ has) <= 1, "one change at a time"
            if has - had and before.first:
                assert before.ready, "who joins finds the data"
                assert all(server.ready for server in before.nodes)
            for node in had - has:
                assert node not in world.alive, "only who is away is dropped"
                assert set(after.ready), "somebody has the data"
        else:
            assert had - has <= members - world.ledger.members.keys() or event[0] == "reset"
        if after.generation > before.generation:
            assert not before.nodes, "while anybody has the data nobody begins anew"
        if after.generation == before.generation:
            assert after.begun >= before.begun


@given(st.sampled_from([1, 3, 5]), st.lists(EVENTS, max_size=60), st.integers(1, 8))
def test_what_settles_is_odd_where_enough_are_there(
    count: int, events: Iterable[tuple[str, ...]], number: int
) -> None:
    world = World(limits=Limits(count, 100.0))
    for event in events:
        happen(world, event)
    world.alive = set(world.ledger.members)
    names = world.settle()
    if not names:
        assert "role reset" in describe(world.servers) or not world.alive
    elif len(names) % 2 == 0:
        assert len(world.alive) == len(names), "two that are left stay two"
    else:
        wanted = min(count, len(world.alive))
        assert len(names) in (wanted, wanted - 1)
