# SPDX-License-Identifier: Apache-2.0
"""A partition so long that each side's Serf has forgotten the other one.

Serf does so after 24 hours (`reconnect_timeout`); here its second configuration file says that it is a few
seconds. Serf looks every 15 s for whom to forget. Nobody announces itself by mDNS and there are no seeds: who
is found again is found by what the agents remember.
"""

import time

import pytest
from nacl.utils import random

from agent.identity import identity_of_seed
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import FORM_LIMIT, Machine, Machines, wait_formed
from tests.cluster.observed import (
    Faults,
    check_one_holder,
    ledger,
    restart_agent,
    terms,
    wait_alive,
    wait_holder,
    wait_leader,
)
from tests.cluster.watching import wait_status

REAPED = 120.0
"""Seconds until Serf has forgotten who is away: alone, it takes 40 to believe it, then up to 15."""
FOUND = 150.0
"""Seconds until all have found each other again: the longest wait of join_plan.py, and some."""
SHORT = {"reconnect_timeout": "3s", "tombstone_timeout": "3s"}
PLAN = make_credential(5)


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults()


@pytest.fixture(scope="module")
def cluster(heap: Machines, faults: Faults) -> list[Machine]:
    """Five members who only remember each other."""
    machines = [heap[number] for number in range(1, 6)]
    for machine in machines:
        machine.serf_settings = SHORT
    wait_formed(heap.start(5, encode(PLAN)))
    wait_alive(machines, FORM_LIMIT)
    for machine in machines:
        machine.variables["CLUSTEROS_DISCOVERY_MDNS"] = "false"
        faults.killed(machine, restart_agent(machine))
    wait_alive(machines, FORM_LIMIT)
    wait_holder(machines, FORM_LIMIT)
    return machines


def test_two_sides_that_have_forgotten_each_other_are_one_cluster_again(
    heap: Machines, cluster: list[Machine], faults: Faults
) -> None:
    genesis = genesis_of(cluster)
    few, most = take_sides(cluster)
    heap.switch.split(numbers(few), numbers(most))
    for machine in few:
        wait_forgotten(machine, most)
    for machine in most:
        wait_forgotten(machine, few)
    # The majority goes on meanwhile.
    wait_leader(most, FORM_LIMIT)
    approved = identity_of_seed(random(32)).node_id
    done = most[0].command("approve", approved)
    assert done.returncode == 0, done.stderr
    heal(heap, cluster)
    check_whole(cluster, genesis, faults)
    assert all(approved in ledger(machine).approved for machine in cluster)


@pytest.mark.full
def test_machines_each_of_which_was_alone_for_long_are_one_cluster_again(
    heap: Machines, cluster: list[Machine], faults: Faults
) -> None:
    wait_alive(cluster, FOUND)
    genesis = genesis_of(cluster)
    for machine in cluster:
        heap.switch.cut(machine.number)
    for machine in cluster:
        wait_forgotten(machine, [other for other in cluster if other is not machine])
    # Two of them are switched off and on before they hear of anybody.
    for machine in cluster[:2]:
        machine.cut_power()
        machine.start()
        wait_status(machine, "to be back", lambda status: status["phase"] == "member")
    heal(heap, cluster)
    check_whole(cluster, genesis, faults)


@pytest.mark.full
def test_the_side_that_missed_a_new_gossip_key_comes_back(
    heap: Machines, cluster: list[Machine], faults: Faults
) -> None:
    wait_alive(cluster, FOUND)
    genesis = genesis_of(cluster)
    (few, most), gone = take_sides(cluster), heap[6]
    gone.give(encode(PLAN, seeds=(most[0].address,)))
    gone.start()
    wait_formed([*cluster, gone])
    heap.switch.split(numbers(few), numbers([*most, gone]))
    for machine in few:
        wait_forgotten(machine, [*most, gone])
    for machine in most:
        wait_forgotten(machine, few)
    wait_leader(most, FORM_LIMIT)
    before = most[0].status()["secrets"]["gossip"]
    done = most[0].command("remove", "--yes", gone.node_id)
    assert done.returncode == 0, done.stderr
    for machine in most:
        wait_status(machine, "a new key", lambda status: status["secrets"]["gossip"] > before)
    gone.cut_power()
    assert all(machine.status()["secrets"]["gossip"] == before for machine in few)
    heal(heap, cluster)
    check_whole(cluster, genesis, faults)


def take_sides(cluster: list[Machine]) -> tuple[list[Machine], list[Machine]]:
    """Return two machines, and the three others, who have most of the votes whatever happens now.

    Not all five need to vote yet: of a young cluster only those do that were there when it was founded.
    """
    voters = wait_leader(cluster, FORM_LIMIT).status()["raft"]["voters"]
    few = sorted(cluster, key=lambda machine: machine.node_id in voters)[:2]
    return few, [machine for machine in cluster if machine not in few]


def numbers(machines: list[Machine]) -> list[int]:
    return [machine.number for machine in machines]


def heal(heap: Machines, cluster: list[Machine]) -> None:
    """Put all on one network, and wait until everybody has found everybody."""
    heap.switch.heal()
    began = time.monotonic()
    wait_alive(cluster, FOUND)
    print(f"all found all in {time.monotonic() - began:.1f} s")


def genesis_of(machines: list[Machine]) -> str:
    (genesis,) = {machine.status()["cluster"]["genesis"] for machine in machines}
    return str(genesis)


def wait_forgotten(machine: Machine, others: list[Machine]) -> None:
    """Wait until the machine's Serf does not know the others any more, and see that they stay members."""
    away = {other.node_id for other in others}

    def forgotten(status: dict[str, list[dict[str, str]]]) -> bool:
        return {m["node_id"] for m in status["members"] if m["state"] == "unknown"} == away

    status = wait_status(machine, "to have forgotten who is away", forgotten, REAPED)
    assert status["phase"] == "member"


def check_whole(cluster: list[Machine], genesis: str, faults: Faults) -> None:
    """See that these are one cluster as before: genesis, members, leader, and one holder at any time."""
    wait_formed(cluster)
    assert genesis_of(cluster) == genesis
    wait_leader(cluster, FORM_LIMIT)
    wait_holder(cluster, FORM_LIMIT)
    wait_for("the ledgers to agree", lambda: len({shared(machine) for machine in cluster}) == 1, FORM_LIMIT)
    check_one_holder(faults.correct(term) for machine in cluster for term in terms(machine))


def shared(machine: Machine) -> tuple[object, ...]:
    """What is the same on all members, but for renewals of leases, which are on their way all the time."""
    found = ledger(machine)
    leases = sorted((role, lease.holder, lease.epoch) for role, lease in found.leases.items())
    return tuple(sorted(found.members)), found.voters, found.approved, tuple(leases)
