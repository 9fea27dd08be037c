# SPDX-License-Identifier: Apache-2.0
"""Role leases: never two holders at one instant, whatever is late, lost or asleep; and never none for long.

The ledger's own rules (agent/membership/) decide here what a commit does; time, order and loss are a model.
"""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cluster import Genesis, Lease, Ledger, Member, Policy
from agent.election.leases import (
    Hold,
    LeaseTimes,
    Seen,
    deadline,
    grants,
    may_act,
    must_stop,
    next_end,
    renewal_due,
    renewed,
    watch,
)
from agent.identity import identity_of_seed
from agent.membership import commands
from agent.membership.ledger import reduce

ROLE = "slurm-controller"
NODES = tuple(identity_of_seed(bytes([number]) * 32).node_id for number in range(1, 4))
LEDGER = Ledger(
    genesis="0" * 64,
    members={node: Member(node, "0" * 12, f"10.0.0.{n}", None, n) for n, node in enumerate(NODES, 1)},
    voters=NODES,
    wanted_voters=3,
)
GENESIS = Genesis(
    "a" * 26,
    "lab",
    bytes(16),
    3,
    3,
    Policy.AUTO,
    bytes(32),
    "10.0.0.0/8",
    bytes(32),
    bytes(32),
    NODES,
    (),
    (),
)
TIMES = LeaseTimes()
STEP = 0.25


@dataclass
class Weather:
    """How bad it is."""

    loss: float = 0.0
    delay: float = 0.0  # seconds at most until a command is in the log
    lag: float = 0.0  # seconds at most until a node has applied it
    naps: float = 0.0  # probability that a node's agent stops for a while, at each step
    changes: float = 0.0  # probability that another node leads, at each step
    restarts: float = 0.0


@dataclass
class Entry:
    command: bytes
    author: str | None  # who renews by it
    sent: float
    answered: bool
    ledger: Ledger
    applied: bool


@dataclass
class Node:
    name: str
    offset: float
    position: int = 0  # entries of the log that it has applied
    ledger: Ledger = LEDGER
    hold: Hold | None = None
    asked: float | None = None
    seen: dict[str, Seen] = field(default_factory=dict)
    asleep_until: float = 0.0
    reach: list[float] = field(default_factory=list)  # when each entry is applied here
    acts: list[tuple[float, float]] = field(default_factory=list)  # in the world's time


class World:
    """A log, three nodes, and who of them believes what when. Time goes in steps."""

    def __init__(self, seed: int, weather: Weather, leader_times: LeaseTimes = TIMES) -> None:
        self.random = random.Random(seed)
        self.weather, self.leader_times = weather, leader_times
        self.nodes = [Node(name, self.random.uniform(0, 10_000)) for name in NODES]
        self.leaders = {NODES[0]}
        self.log: list[Entry] = []
        self.ledger = LEDGER
        self.flying: list[tuple[float, bytes, str | None, float]] = []
        self.now = 0.0
        self.dead: set[str] = set()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP
            self._land()
            if self.random.random() < self.weather.changes:
                # The old one may believe in itself for a while.
                self.leaders = set(self.random.sample(NODES, self.random.choice([1, 1, 2])))
            for node in self.nodes:
                if node.name not in self.dead and self.now >= node.asleep_until:
                    self._tick(node)

    def _land(self) -> None:
        for flight in sorted(flight for flight in self.flying if flight[0] <= self.now):
            self.flying.remove(flight)
            _, command, author, sent = flight
            self.ledger, result = reduce(self.ledger, command, GENESIS)
            answered = self.random.random() >= self.weather.loss
            self.log.append(Entry(command, author, sent, answered, self.ledger, result.applied))
            for node in self.nodes:
                before = node.reach[-1] if node.reach else 0.0
                node.reach.append(max(before, self.now + self.random.uniform(0, self.weather.lag)))

    def _send(self, command: bytes, author: str | None, sent: float) -> None:
        if self.random.random() >= self.weather.loss:
            self.flying.append((self.now + self.random.uniform(0, self.weather.delay), command, author, sent))

    def _tick(self, node: Node) -> None:
        mine = self.now + node.offset
        if self.random.random() < self.weather.naps:
            node.asleep_until = self.now + self.random.uniform(0, 20)
            return
        if self.random.random() < self.weather.restarts:
            self._forget_acting(node)
            node.hold = node.asked = None
            node.seen = {}
        while node.position < len(self.log) and node.reach[node.position] <= self.now:
            entry = self.log[node.position]
            node.position += 1
            node.ledger = entry.ledger
            node.seen = watch(node.seen, node.ledger, mine)
            lease = node.ledger.leases.get(ROLE)
            if entry.author == node.name and entry.applied and entry.answered and lease is not None:
                node.hold = renewed(node.hold, ROLE, lease.epoch, entry.sent)
        lease = node.ledger.leases.get(ROLE)
        if may_act(node.hold, lease, node.name, mine):
            assert node.hold is not None
            # It acts from now until it stops by its own clock, even if it never comes to look again.
            self._forget_acting(node)
            node.acts.append((self.now, deadline(node.hold) - node.offset))
        else:
            self._forget_acting(node)
        if renewal_due(node.hold, lease, node.name, mine, asked=node.asked):
            assert lease is not None
            node.asked = mine
            self._send(commands.lease_renew(ROLE, node.name, lease.epoch), node.name, mine)
        if node.name in self.leaders:
            wanted = self.random.sample(NODES, len(NODES))
            for grant in grants(node.ledger, node.seen, {ROLE: wanted}, mine, self.leader_times):
                self._send(commands.lease_grant(node.ledger, ROLE, grant.holder), None, mine)

    def _forget_acting(self, node: Node) -> None:
        """What was to last longer ends now, as the node has looked and decided anew."""
        if node.acts and node.acts[-1][1] > self.now:
            node.acts[-1] = (node.acts[-1][0], self.now)

    def overlaps(self) -> list[tuple[float, float]]:
        """Return where one node began to act before another had stopped: that one's end, this one's start."""
        acts = sorted((start, end, node.name) for node in self.nodes for start, end in node.acts)
        return [
            (first[1], second[0])
            for index, first in enumerate(acts)
            for second in acts[index + 1 :]
            if first[2] != second[2] and second[0] < first[1]
        ]

    def holders(self) -> list[str]:
        return [
            node.name for node in self.nodes if node.acts and node.acts[-1][0] <= self.now < node.acts[-1][1]
        ]


WEATHER = st.builds(
    Weather,
    loss=st.sampled_from([0.0, 0.1, 0.5]),
    delay=st.sampled_from([0.0, 0.3, 3.0, 12.0]),
    lag=st.sampled_from([0.0, 0.3, 5.0]),
    naps=st.sampled_from([0.0, 0.02, 0.1]),
    changes=st.sampled_from([0.0, 0.02, 0.2]),
    restarts=st.sampled_from([0.0, 0.05]),
)


@given(seed=st.integers(0, 2**32), weather=WEATHER)
@settings(max_examples=60, deadline=None)
def test_never_do_two_nodes_hold_one_role_at_one_instant(seed: int, weather: Weather) -> None:
    world = World(seed, weather)
    world.run(90.0)
    assert world.overlaps() == []
    epochs = [entry.ledger.leases[ROLE].epoch for entry in world.log if ROLE in entry.ledger.leases]
    assert epochs == sorted(epochs)


def test_the_model_finds_two_holders_when_the_leader_does_not_wait() -> None:
    hasty = LeaseTimes(ttl=1.0, grant_margin=0.0)
    weather = Weather(delay=0.3, lag=0.3, naps=0.02)
    worlds = [World(seed, weather, hasty) for seed in range(20)]
    for world in worlds:
        world.run(90.0)
    assert any(world.overlaps() for world in worlds)


@pytest.mark.parametrize("seed", range(5))
def test_in_fair_weather_one_node_holds_the_role_without_a_break(seed: int) -> None:
    world = World(seed, Weather(delay=0.2, lag=0.2))
    world.run(3.0)
    first = world.holders()
    assert len(first) == 1
    for _ in range(60):
        world.run(0.5)
        assert world.holders() == first


@pytest.mark.parametrize("seed", range(10))
def test_when_the_holder_dies_another_holds_the_role_within_the_lease_time_and_its_margin(seed: int) -> None:
    world = World(seed, Weather(delay=0.2, lag=0.2))
    world.run(10.0 + seed * 0.3)
    (holder,) = world.holders()
    world.dead = {holder}
    # The leader may have died with it, and the election takes its time.
    world.leaders = {next(name for name in NODES if name != holder)}
    died = world.now
    while not [name for name in world.holders() if name != holder]:
        world.run(STEP)
        assert world.now < died + 30
    # The last renewal was under way still; then the grant, and the new holder's first renewal.
    commits = 3 * (0.2 + 0.2 + STEP)
    assert world.now - died <= TIMES.ttl + TIMES.grant_margin + commits
    assert world.overlaps() == []


@pytest.mark.parametrize("seed", range(5))
def test_a_lease_that_is_given_back_is_given_on_at_once(seed: int) -> None:
    world = World(seed, Weather())
    world.run(5.0)
    (holder,) = world.holders()
    node = next(node for node in world.nodes if node.name == holder)
    world._forget_acting(node)
    node.hold = None
    world._send(commands.lease_release(ROLE, holder, node.ledger.leases[ROLE].epoch), None, 0.0)
    world.run(1.0)
    assert len(world.holders()) == 1
    assert world.ledger.leases[ROLE].epoch == 2


def test_a_late_renewal_of_an_old_epoch_is_refused() -> None:
    ledger, _ = reduce(LEDGER, commands.lease_grant(LEDGER, ROLE, NODES[0]), GENESIS)
    late = commands.lease_renew(ROLE, NODES[0], 1)
    ledger, _ = reduce(ledger, commands.lease_grant(ledger, ROLE, NODES[1]), GENESIS)
    after, result = reduce(ledger, late, GENESIS)
    assert not result.applied
    assert after == ledger


def test_a_grant_decided_before_a_renewal_is_refused() -> None:
    ledger, _ = reduce(LEDGER, commands.lease_grant(LEDGER, ROLE, NODES[0]), GENESIS)
    late = commands.lease_grant(ledger, ROLE, NODES[1])
    ledger, _ = reduce(ledger, commands.lease_renew(ROLE, NODES[0], 1), GENESIS)
    after, result = reduce(ledger, late, GENESIS)
    assert not result.applied
    assert after == ledger


def held(epoch: int = 2, renewal: int = 5, holder: str | None = NODES[0]) -> Lease:
    return Lease(ROLE, holder, epoch, renewal)


def test_a_holder_stops_by_its_own_clock_before_the_lease_can_be_given_away() -> None:
    hold = Hold(ROLE, 2, sent=100.0)
    assert may_act(hold, held(), NODES[0], 104.4)
    assert must_stop(hold, held(), NODES[0], 104.5)
    seen = {ROLE: Seen(2, 5, at=100.0)}
    ledger = Ledger("0" * 64, members=LEDGER.members, leases={ROLE: held()})
    assert grants(ledger, seen, {ROLE: NODES}, 106.2) == ()
    (grant,) = grants(ledger, seen, {ROLE: NODES}, 106.25)
    assert grant.holder == NODES[1]
    assert "has not renewed it for 6.2 s" in grant.reason


def test_a_node_does_not_act_by_a_grant_alone_nor_by_what_the_ledger_says() -> None:
    assert must_stop(None, held(), NODES[0], 0.0)
    assert renewal_due(None, held(), NODES[0], 0.0, asked=None)


def test_a_holder_stops_when_the_ledger_names_another_or_a_later_epoch() -> None:
    hold = Hold(ROLE, 2, sent=100.0)
    for lease in (held(holder=None), held(holder=NODES[1]), held(epoch=3), None):
        assert must_stop(hold, lease, NODES[0], 101.0)
    # A ledger that lags behind says nothing new.
    assert may_act(hold, held(epoch=1, holder=NODES[1]), NODES[0], 101.0)


def test_a_renewal_is_due_in_time_and_tried_again_soon() -> None:
    hold = Hold(ROLE, 2, sent=100.0)
    assert not renewal_due(hold, held(), NODES[0], 101.9, asked=100.0)
    assert renewal_due(hold, held(), NODES[0], 102.0, asked=100.0)
    assert not renewal_due(hold, held(), NODES[0], 102.4, asked=102.0)
    assert renewal_due(hold, held(), NODES[0], 102.5, asked=102.0)
    assert renewal_due(hold, held(epoch=3), NODES[0], 100.5, asked=100.0)
    assert not renewal_due(hold, held(holder=NODES[1]), NODES[0], 110.0, asked=None)
    assert not renewal_due(hold, None, NODES[0], 110.0, asked=None)


def test_an_older_renewal_that_is_answered_late_does_not_shorten_the_hold() -> None:
    newer = Hold(ROLE, 2, sent=104.0)
    assert renewed(newer, ROLE, 2, 102.0) == newer
    assert renewed(newer, ROLE, 1, 200.0) == newer
    assert renewed(newer, ROLE, 3, 102.0) == Hold(ROLE, 3, 102.0)


def test_a_lease_goes_only_to_members_and_last_to_who_let_it_run_out() -> None:
    ledger = Ledger("0" * 64, members={NODES[0]: LEDGER.members[NODES[0]]}, leases={ROLE: held()})
    seen = {ROLE: Seen(2, 5, at=0.0)}
    assert [grant.holder for grant in grants(ledger, seen, {ROLE: NODES}, 100.0)] == [NODES[0]]
    assert grants(ledger, seen, {ROLE: NODES[1:]}, 100.0) == ()
    assert grants(ledger, seen, {ROLE: ()}, 100.0) == ()


def test_the_next_end_is_that_of_the_lease_that_was_renewed_first() -> None:
    waits = TIMES.ttl + TIMES.grant_margin
    seen = {"a": Seen(1, 1, 100.0), "b": Seen(1, 1, 101.0)}
    assert next_end(seen, 102.0) == 100.0 + waits
    # What is over has been seen to, or cannot be: nothing to wake up for.
    assert next_end(seen, 100.0 + waits) == 101.0 + waits
    assert next_end(seen, 101.0 + waits) == next_end({}, 0.0) == float("inf")


def test_what_was_not_watched_is_not_given_away() -> None:
    ledger = Ledger("0" * 64, members=LEDGER.members, leases={ROLE: held()})
    assert grants(ledger, {}, {ROLE: NODES}, 1e9) == ()
    assert grants(ledger, {ROLE: Seen(2, 4, at=0.0)}, {ROLE: NODES}, 1e9) == ()
    watched = watch({ROLE: Seen(2, 4, at=0.0)}, ledger, 50.0)
    assert watched == {ROLE: Seen(2, 5, at=50.0)}
    assert watch(watched, ledger, 60.0) == watched
    assert grants(ledger, watched, {ROLE: NODES}, 56.2) == ()
