# SPDX-License-Identifier: Apache-2.0
"""Forming under every misfortune that hypothesis thinks of, in a world with virtual time (forming_world.py).

The world itself checks at each step that never two geneses are chosen or learnt, and that no node leaves the
one that it has.
"""

import random
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.forming_material import SEEDS, make_credential
from tests.forming_world import World

# Seconds of virtual time; the worst of two thousand runs took 8.
LIMIT = 60.0


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.sampled_from([0, 0, 1, 2]), st.integers(0, 2**32))
def test_whoever_proposes_when_and_whatever_arrives_one_genesis_at_most_is_chosen(
    count: int, clones: int, seed: int
) -> None:
    """Paxos alone: no turns, no clocks, any message at any time, crashes at any moment, copied disks."""
    chances = random.Random(seed)
    seeds = [SEEDS[max(index - clones, 0)] for index in range(count)]
    world = World([make_credential(count)] * count, chances, seeds=seeds)
    for _ in range(200):
        index = chances.randrange(count)
        world.boot(index)
        match chances.randrange(16):
            case 0 | 1:
                world.propose(index)
            case 2 | 3:
                world.kill(index)
            case 4:
                world.machines[index].dies = chances.choice(["before", "after"])
            case 5:
                world.now += 1.0
            case what:
                world.deliver(chances.randrange(2**16), keep=what < 8)


class Trouble(NamedTuple):
    """A thing that happens, to a machine where that matters, and the seconds until the next one."""

    kind: str
    machine: int
    amount: float
    pause: float


troubles = st.lists(
    st.builds(
        Trouble,
        st.sampled_from(
            ["boot", "boot", "kill", "die before", "die after", "split", "heal", "loss", "delay", "stale"]
        ),
        st.integers(0, 6),
        st.floats(0, 1),
        st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.5, 6.0]),
    ),
    max_size=20,
)


def suffer(world: World, trouble: Trouble) -> None:
    index = trouble.machine % len(world.machines)
    match trouble.kind:
        case "boot":
            world.boot(index)
        case "kill":
            world.kill(index)
        case "die before" | "die after":
            world.boot(index)
            world.machines[index].dies = trouble.kind.removeprefix("die ")
        case "split":
            bits = int(trouble.amount * 127)
            world.split(bits >> i & 1 for i in range(len(world.machines)))
        case "heal":
            world.split([])
        case "loss":
            world.loss, world.doubling = trouble.amount * 0.6, trouble.amount * 0.3
        case "delay":
            world.delay = (0.001, 0.05 + 4 * trouble.amount**3)
        case "stale":
            world.staleness = trouble.amount * 0.9
    world.run(trouble.pause)


def majority(count: int, first: int) -> list[int]:
    """More than half of `count` machines: those from `first` on, round about."""
    return [(first + step) % count for step in range(count // 2 + 1)]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 7), st.integers(0, 99), st.integers(0, 6), troubles)
def test_whatever_happens_there_is_one_cluster_and_a_majority_forms_it(
    count: int, seed: int, first: int, events: list[Trouble]
) -> None:
    world = World([make_credential(count)] * count, random.Random(seed))
    for event in events:
        suffer(world, event)
    world.calm()
    alive = majority(count, first)
    for index in range(count):
        world.boot(index) if index in alive else world.kill(index)
    world.run_until_formed(alive, LIMIT)
    for index in range(count):
        world.boot(index)
    world.run_until_formed(range(count), 10.0)
    assert {machine.genesis for machine in world.machines} == world.geneses


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 99), troubles)
def test_with_more_machines_than_planned_nothing_merges_and_all_end_in_a_cluster_or_say_why_not(
    planned: int, more: int, seed: int, events: list[Trouble]
) -> None:
    """The world fails when a node leaves its genesis."""
    count = planned + more
    world = World([make_credential(planned)] * count, random.Random(seed), most=count)
    for event in events:
        suffer(world, event)
    world.calm()
    for index in range(count):
        world.boot(index)
    world.run(LIMIT)
    # One that was chosen, but died with the machine that alone knew of it, is no cluster.
    held = {machine.genesis for machine in world.machines} - {None}
    conflict = f"{len(held)} clusters carry this cluster id"
    for machine in world.machines:
        assert machine.genesis or conflict in machine.sentence
        assert len(held) == 1 or conflict in machine.sentence
