# SPDX-License-Identifier: Apache-2.0
"""A cluster whose machines are far apart: each packet is under way for 200 ms, twice that there and back."""

import re
import time
from typing import Any

import pytest
from nacl.utils import random

from agent.identity import identity_of_seed
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import FORM_LIMIT, Machine, Machines, wait_formed
from tests.cluster.observed import (
    ELECTION,
    LOADED,
    TIMES,
    Faults,
    acts,
    check_one_holder,
    ledger,
    now,
    start_again,
    stays,
    terms,
    wait_alive,
    wait_holder,
    wait_leader,
)

LATENCY = 0.2
"""Seconds that each packet is under way."""
ROUND_TRIP = 2 * LATENCY
SOME_TIME = 3 * TIMES.ttl
CREDENTIAL = encode(make_credential(5))


@pytest.fixture(scope="module")
def cluster(heap: Machines) -> list[Machine]:
    """Five machines that were far apart from the beginning."""
    machines = [heap[number] for number in range(1, 6)]
    for machine in machines:
        heap.switch.slow_down(machine.number, LATENCY)
    began = time.monotonic()
    wait_formed(heap.start(5, CREDENTIAL))
    print(f"formed in {time.monotonic() - began:.1f} s")
    wait_alive(machines, FORM_LIMIT)
    wait_holder(machines, FORM_LIMIT)
    return machines


def test_machines_that_are_far_apart_form_one_cluster(cluster: list[Machine]) -> None:
    first, second = cluster[:2]
    done = first.inside("ping", "-c3", "-i0.2", "-w10", second.status()["mesh"]["ipv4"])
    fastest = re.search(r"min/avg/max/mdev = ([\d.]+)/", done.stdout)
    assert fastest is not None, done.stdout + done.stderr
    assert float(fastest[1]) >= 1000 * ROUND_TRIP
    assert len({document["cluster"]["genesis"] for document in (m.status() for m in cluster)}) == 1


def test_nobody_is_given_up_no_role_moves_and_nobody_else_leads(cluster: list[Machine]) -> None:
    leader, holder = wait_leader(cluster, FORM_LIMIT), wait_holder(cluster, FORM_LIMIT)
    before = [machine.status() for machine in cluster]
    held = terms(holder)[-1]
    stays("all is as it was", lambda: acts(holder) and all(map(sees_all_alive, cluster)), SOME_TIME)
    assert terms(holder)[-1] == held
    for earlier, machine in zip(before, cluster, strict=True):
        later = machine.status()
        assert later["raft"]["term"] == earlier["raft"]["term"]
        assert later["raft"]["leader"] == leader.node_id
        assert holders(later) == holders(earlier)
        # The holder has renewed its lease in time.
        assert later["raft"]["commit_index"] >= earlier["raft"]["commit_index"] + SOME_TIME / TIMES.ttl


def test_whoever_is_asked_writes_and_a_machine_joins(heap: Machines, cluster: list[Machine]) -> None:
    approved = {machine.name: identity_of_seed(random(32)).node_id for machine in cluster}
    for machine in cluster:
        began = time.monotonic()
        done = machine.command("approve", approved[machine.name])
        assert done.returncode == 0, done.stderr
        print(f"{machine.name}, {machine.status()['raft']['role']}: {time.monotonic() - began:.1f} s")
    late = heap[6]
    heap.switch.slow_down(late.number, LATENCY)
    late.give(CREDENTIAL)
    began = time.monotonic()
    late.start()
    wait_formed([*cluster, late])
    print(f"joined in {time.monotonic() - began:.1f} s")
    wait_for("it to know all", lambda: ledger(late).approved >= {*approved.values()}, FORM_LIMIT)


def test_the_role_of_a_killed_holder_goes_on_in_time(heap: Machines, cluster: list[Machine]) -> None:
    everybody, faults = [*cluster, heap[6]], Faults()
    wait_alive(everybody, FORM_LIMIT)
    holder = wait_holder(everybody, FORM_LIMIT)
    holder.kill("agent")
    at = now()
    faults.killed(holder, at)
    others = [machine for machine in everybody if machine is not holder]
    successor = wait_holder(others, TIMES.ttl + ELECTION + LOADED + 5 * ROUND_TRIP)
    took = terms(successor)[-1].began - at
    print(f"holder kill to the new holder: {took:.2f} s")
    start_again(holder)
    wait_alive(everybody, FORM_LIMIT)
    check_one_holder(faults.correct(term) for machine in everybody for term in terms(machine))


def test_when_machines_are_close_again_nothing_happens(heap: Machines, cluster: list[Machine]) -> None:
    everybody = [*cluster, heap[6]]
    wait_alive(everybody, FORM_LIMIT)
    leader, holder = wait_leader(everybody, FORM_LIMIT), wait_holder(everybody, FORM_LIMIT)
    for machine in everybody:
        heap.switch.speed_up(machine.number)
    stays("all is as it was", lambda: acts(holder) and all(map(sees_all_alive, everybody)), 2 * TIMES.ttl)
    assert wait_leader(everybody, FORM_LIMIT) is leader


def holders(status: dict[str, Any]) -> dict[str, tuple[str | None, int]]:
    """Who holds each role, and in which epoch."""
    return {lease["role"]: (lease["holder"], lease["epoch"]) for lease in status["leases"]}


def sees_all_alive(machine: Machine) -> bool:
    return all(member["state"] == "alive" for member in machine.status()["members"])
