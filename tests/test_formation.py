# SPDX-License-Identifier: Apache-2.0
"""Forming: exactly one cluster. The properties 1 and 3 to 5, by the scenarios in which they are in danger.

Property 2 is in test_formation_ends.py; test_formation_simulated.py drives the same world through what nobody
thought of.
"""

import random

import pytest

from agent.cluster import Policy
from agent.formation.record import decode_record
from tests.forming_material import NODES, SEEDS, make_credential, with_founder
from tests.forming_world import World, make_world

LONG = 300.0  # seconds


# 1. While no more machines carry the credential than were planned, they form one cluster or none yet.


@pytest.mark.parametrize("machines", [1, 2, 3, 4, 5, 6, 7])
def test_machines_that_start_together_form_one_cluster(machines: int) -> None:
    world = make_world(machines)
    world.run_until_formed(world.boot_all(), 8.0)
    assert len({machine.genesis for machine in world.machines}) == 1


def test_six_machines_in_two_triples_form_nothing_and_then_one_cluster() -> None:
    world = make_world(6)
    world.split([0, 0, 0, 1, 1, 1])
    world.boot_all()
    world.run(LONG)
    assert not world.geneses
    assert "3 of 6 planned machines in sight; 4 are needed" in world.machines[0].sentence
    world.split([])
    world.run_until_formed(range(6), 10.0)


def test_a_network_that_splits_during_an_attempt_leaves_one_side_without_a_cluster() -> None:
    world = make_world(5)
    world.boot_all()
    world.run(0.25)
    world.split([0, 0, 1, 1, 1])
    world.run_until_formed([2, 3, 4], 60.0)
    world.run(60.0)
    assert world.machines[0].genesis is None
    world.split([])
    world.run_until_formed(range(5), 10.0)


def test_a_genesis_that_its_proposer_took_to_the_grave_is_found_again() -> None:
    """All others have voted, nobody but the proposer knows that it is decided, and it dies."""
    world = make_world(3)
    world.boot_all()
    while not any(machine.genesis for machine in world.machines):
        world.run(0.01)
    (proposer,) = (index for index, machine in enumerate(world.machines) if machine.genesis)
    world.kill(proposer)
    others = [index for index in range(3) if index != proposer]
    world.run_until_formed(others, 30.0)
    assert len(world.geneses) == 1


def test_a_promise_survives_the_crash_that_follows_it() -> None:
    world = make_world(3)
    world.machines[1].dies = "after"
    world.boot_all()
    world.run(1.5)
    promised = world.machines[1].stored.promised
    assert promised is not None
    world.boot(1)
    formation = world.machines[1].formation
    assert formation is not None and formation.state.promised == promised


def test_a_copied_disk_among_the_planned_machines_makes_no_second_cluster() -> None:
    """Nodes 0, 1, and a clone of 1: three machines, two node IDs, and a quorum of two."""
    for chance in range(20):
        seeds = (SEEDS[0], SEEDS[1], SEEDS[1])
        world = World([make_credential(3)] * 3, random.Random(chance), seeds=seeds)
        world.split([0, 1, 2])
        world.boot_all()
        world.run(1.0)
        world.loss = 0.3
        for groups in ([0, 0, 1], [0, 1, 0]) * 4:
            world.split(groups)
            world.run(random.Random(chance).uniform(0.5, 3.0))
        world.calm()
        world.run_until_formed(range(3), 120.0)


# 3. A machine that can see an existing cluster joins it and never founds another. No founding on a timeout.


def test_machines_that_see_a_cluster_join_it_and_found_none() -> None:
    world = make_world(6, planned=3)
    for index in range(3):
        world.boot(index)
    world.run_until_formed(range(3), 8.0)
    world.boot_all()
    world.run_until_formed(range(6), 5.0)
    assert len(world.geneses) == 1


def test_no_time_that_passes_makes_a_minority_found() -> None:
    world = make_world(5)
    for index in range(2):
        world.boot(index)
    world.run(LONG)
    assert not world.geneses
    assert all(machine.stored.promised is None for machine in world.machines)


def test_a_cluster_that_is_gone_before_it_was_joined_keeps_nobody_from_forming() -> None:
    """Two saw the genesis of a third that then died for good: neither may take the other for a member."""
    world = make_world(5)
    world.boot_all()
    while not any(machine.genesis for machine in world.machines):
        world.run(0.01)
    (proposer,) = (index for index, machine in enumerate(world.machines) if machine.genesis)
    world.loss = 1.0
    world.drop()
    world.run(3.0)
    assert any("joining the cluster" in machine.sentence for machine in world.machines)
    world.kill(proposer)
    world.calm()
    world.run_until_formed([index for index in range(5) if index != proposer], 60.0)


def test_a_founding_medium_founds_alone_and_all_others_only_join() -> None:
    plan = make_credential(0, voters=5)
    world = World([plan, plan, with_founder(plan), plan], random.Random(1))
    for index in (0, 1, 3):
        world.boot(index)
    world.run(LONG)
    assert not world.geneses
    assert "waiting for the machine with the founding medium" in world.machines[0].sentence
    world.boot(2)
    world.run_until_formed(range(4), 8.0)
    record = world.machines[0].record_file
    assert record is not None
    assert decode_record(record).genesis.founders == (NODES[2],)


def test_a_founding_medium_beside_planned_machines_has_no_say_of_its_own() -> None:
    plan = make_credential(3)
    world = World([with_founder(plan), plan, plan], random.Random(1))
    world.boot(0)
    world.run(LONG)
    assert not world.geneses
    world.run_until_formed(world.boot_all(), 8.0)


def test_one_that_founds_alone_looks_for_a_cluster_first() -> None:
    world = make_world(2, planned=1)
    world.boot(0)
    world.run(2.0)
    assert not world.geneses
    world.run_until_formed([0], 5.0)
    world.boot(1)
    world.run_until_formed([1], 5.0)
    assert len(world.geneses) == 1


def test_only_listed_nodes_make_a_quorum_and_are_founders() -> None:
    plan = make_credential(3, policy=Policy.ALLOWLIST, allowlist=(NODES[0], NODES[3], NODES[4]))
    world = World([plan] * 5, random.Random(1))
    for index in (0, 1, 2):
        world.boot(index)
    world.run(LONG)
    assert not world.geneses
    assert "not on the allowlist" in world.machines[1].sentence
    world.boot(4)
    world.run_until_formed([0, 1, 2, 4], 10.0)
    record = world.machines[1].record_file
    assert record is not None
    assert decode_record(record).genesis.founders == (NODES[0], NODES[4])


# 4. A founded cluster survives all its nodes being switched off at once and back on, in any order.


def test_after_a_power_cut_all_nodes_have_the_genesis_that_they_had() -> None:
    world = make_world(5)
    world.run_until_formed(world.boot_all(), 8.0)
    before = set(world.geneses)
    for index in range(5):
        world.kill(index)
    world.run(60.0)
    for index in (3, 1, 4, 0, 2):
        world.boot(index)
        world.run(7.0)
    assert {machine.genesis for machine in world.machines} == before == world.geneses


def test_after_a_power_cut_in_the_middle_of_forming_a_chosen_genesis_stays() -> None:
    for moment in range(1, 40):
        world = make_world(3)
        world.delay = (0.02, 0.05)
        world.boot_all()
        world.run(0.2 + moment / 100)
        for index in range(3):
            world.kill(index)
        for index in (2, 0, 1):
            world.boot(index)
        world.run_until_formed(range(3), 20.0)


# 5. More machines than planned, or two geneses: nothing merges, both keep running, all say so.


def test_more_machines_than_planned_in_two_halves_merge_nothing_and_say_so() -> None:
    world = make_world(7, planned=3, most=2)
    world.split([0, 0, 0, 1, 1, 1, 0])
    for index in range(6):
        world.boot(index)
    world.run_until_formed(range(6), 10.0)
    before = [machine.genesis for machine in world.machines]
    assert len(world.geneses) == 2
    world.split([])
    world.boot(6)
    world.run(LONG)
    assert [machine.genesis for machine in world.machines] == before
    for machine in world.machines:
        assert "2 clusters carry this cluster id" in machine.sentence
        assert all(genesis[:8] in machine.sentence for genesis in world.geneses)
        assert "wipe /var" in machine.sentence
    assert world.machines[6].stored.promised is None
