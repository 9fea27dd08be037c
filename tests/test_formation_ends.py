# SPDX-License-Identifier: Apache-2.0
"""Forming, property 2: as long as a majority of the planned machines can talk, forming ends."""

import random

from agent.formation.genesis import open_admission_seed
from agent.formation.record import decode_record
from tests.forming_material import NODES, SEEDS, make_credential
from tests.forming_world import World, make_world


def test_machines_that_come_one_by_one_form_as_soon_as_they_are_a_majority() -> None:
    world = make_world(5)
    for index in (4, 2):
        world.boot(index)
        world.run(60.0)
    assert not world.geneses
    world.boot(0)
    world.run_until_formed([0, 2, 4], 8.0)
    for index in (1, 3):
        world.boot(index)
        world.run_until_formed([index], 5.0)


def test_the_next_in_line_takes_over_from_a_proposer_that_dies() -> None:
    world = make_world(5)
    world.machines[0].dies = "after"
    world.detection = 1000.0
    world.boot_all()
    world.run_until_formed(range(1, 5), 30.0)
    assert world.machines[0].formation is None


def test_several_proposers_that_die_one_after_another_do_not_stop_it() -> None:
    world = make_world(7)
    for index in range(3):
        world.machines[index].dies = "after"
    world.detection = 1000.0
    world.boot_all()
    world.run_until_formed(range(3, 7), 60.0)


def test_a_proposer_that_hears_no_answers_does_not_stop_it() -> None:
    world = make_world(3)
    world.deaf = {0}
    world.boot_all()
    world.run_until_formed([1, 2], 120.0)


def test_a_proposer_that_is_no_founder_leaves_it_to_the_founders() -> None:
    """The one founder to be hears no votes; another proposes the same again, and may not begin it."""
    world = World([make_credential(3, voters=1)] * 3, random.Random(2))
    world.boot_all()
    while not world.votes:
        world.run(0.01)
    world.deaf = {0}
    world.run(40.0)
    assert world.geneses and not any(machine.genesis for machine in world.machines)
    assert "its founders are to begin it" in " ".join(world.said)
    world.calm()
    world.run_until_formed([0], 20.0)
    world.run_until_formed(range(3), 5.0)


def test_forming_ends_with_one_message_in_three_lost() -> None:
    for chance in range(10):
        world = World([make_credential(5)] * 5, random.Random(chance))
        world.loss, world.doubling = 0.33, 0.2
        world.run_until_formed(world.boot_all(), 120.0)


def test_forming_ends_with_messages_that_take_seconds() -> None:
    for chance in range(10):
        world = World([make_credential(5)] * 5, random.Random(chance))
        world.delay = (0.5, 4.0)
        world.run_until_formed(world.boot_all(), 300.0)


def test_all_that_are_there_become_founders_up_to_the_wanted_voters() -> None:
    for machines, voters, founders in [(5, 5, 5), (7, 5, 5), (5, 3, 3), (4, 3, 3), (2, 1, 1)]:
        world = World([make_credential(machines, voters=voters)] * machines, random.Random(1))
        world.run_until_formed(world.boot_all(), 8.0)
        record = world.machines[0].record_file
        assert record is not None
        assert decode_record(record).genesis.founders == NODES[:founders]


def test_the_machines_that_are_late_are_waited_for_a_moment() -> None:
    world = make_world(5)
    for index in range(3):
        world.boot(index)
    world.run(0.5)
    world.boot(3)
    world.run(0.5)
    world.boot(4)
    world.run_until_formed(range(5), 8.0)
    record = world.machines[0].record_file
    assert record is not None
    assert decode_record(record).genesis.founders == NODES[:5]


def test_each_founder_gets_the_admission_seed() -> None:
    world = make_world(3)
    world.run_until_formed(world.boot_all(), 8.0)
    record = world.machines[2].record_file
    assert record is not None
    genesis = decode_record(record).genesis
    seeds = {open_admission_seed(genesis, seed) for seed in SEEDS[:3]}
    assert len(seeds) == 1 and None not in seeds
