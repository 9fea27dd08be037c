# SPDX-License-Identifier: Apache-2.0
"""The role `coordinator` of a formed cluster: one holder at a time, whatever happens to it.

The holders' logs tell when they began and ended, by the one clock that all machines here share.
"""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from nacl.utils import random

from agent.identity import identity_of_seed
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import Machine, Machines, wait_formed
from tests.cluster.observed import (
    ELECTION,
    LOADED,
    TIMES,
    Faults,
    acts,
    check_one_holder,
    ledger,
    now,
    restart_agent,
    start_again,
    stays,
    terms,
    wait_alive,
    wait_holder,
    wait_leader,
)
from tests.cluster.watching import wait_voters

HANDED_ON = TIMES.ttl + TIMES.grant_margin + ELECTION + LOADED
BACK = 40.0
"""Seconds after which machines that were apart work together again."""
ROUNDS = 3
NOBODY = "there is no leader to commit it"
DOUBT = "nobody could tell whether it was committed"


@pytest.fixture(scope="module")
def formed(heap: Machines) -> list[Machine]:
    machines = heap.start(3, encode(make_credential(3)))
    wait_formed(machines)
    wait_voters(machines)
    return machines


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults()


@pytest.fixture
def cluster(heap: Machines, formed: list[Machine], faults: Faults) -> Iterator[list[Machine]]:
    """Three members of which one holds the role; afterwards all that ever held it are looked at."""
    wait_alive(formed, BACK)
    wait_holder(formed, HANDED_ON)
    yield formed
    heap.switch.heal()
    check_one_holder(faults.correct(term) for machine in formed for term in terms(machine))


def test_an_isolated_leader_stops_before_the_other_side_starts(
    heap: Machines, cluster: list[Machine]
) -> None:
    between = []
    for _ in range(ROUNDS):
        wait_alive(cluster, BACK)
        holder, leader = wait_holder(cluster, HANDED_ON), wait_leader(cluster, HANDED_ON)
        heap.switch.cut(holder.number)
        at = now()
        others = [machine for machine in cluster if machine is not holder]
        if leader is holder:
            wait_for("it to step down", lambda: holder.status()["raft"]["role"] != "leader", LOADED + 2)  # noqa: B023
        successor = wait_holder(others, HANDED_ON)
        ended, began = terms(holder)[-1].ended, terms(successor)[-1].began
        assert at < ended < began
        assert ended - at <= TIMES.ttl - TIMES.stop_margin + 0.5
        assert not acts(holder)
        between.append(began - ended)
        heap.switch.heal()
    print(f"between end and begin: {', '.join(f'{seconds:.2f}' for seconds in between)} s")


def test_the_role_of_a_killed_holder_goes_on_within_lease_and_election(
    cluster: list[Machine], faults: Faults
) -> None:
    holder = wait_holder(cluster, HANDED_ON)
    holder.kill("agent")
    at = now()
    faults.killed(holder, at)
    successor = wait_holder([machine for machine in cluster if machine is not holder], HANDED_ON)
    took = terms(successor)[-1].began - at
    print(f"holder kill to the new holder: {took:.2f} s")
    assert took < HANDED_ON
    start_again(holder)


def test_a_holder_that_is_started_again_goes_on_in_its_epoch(cluster: list[Machine], faults: Faults) -> None:
    holder = wait_holder(cluster, HANDED_ON)
    epoch = terms(holder)[-1].epoch
    faults.killed(holder, restart_agent(holder))
    wait_for("it to act again", lambda: acts(holder), HANDED_ON)
    assert terms(holder)[-1].epoch == epoch


def test_a_paused_holder_stops_at_once_when_it_wakes_up_late(cluster: list[Machine], faults: Faults) -> None:
    holder = wait_holder(cluster, HANDED_ON)
    others = [machine for machine in cluster if machine is not holder]
    holder.kill("agent", signal.SIGSTOP)
    paused = now()
    try:
        successor = wait_holder(others, HANDED_ON)
    finally:
        woken = now()
        holder.kill("agent", signal.SIGCONT)
    faults.paused(holder, paused, woken)
    wait_for("it to notice", lambda: not acts(holder), LOADED)
    late, new = terms(holder)[-1], terms(successor)[-1]
    assert late.over < new.began < late.ended < woken + LOADED
    assert new.epoch > late.epoch
    # Whatever it sends now is refused: the epoch stays.
    wait_alive(cluster, BACK)
    stays("same holder", lambda: acts(successor) and not acts(holder), 3)
    assert terms(successor)[-1] == new


def test_a_serf_that_hangs_costs_its_node_no_role(cluster: list[Machine]) -> None:
    holder = wait_holder(cluster, HANDED_ON)
    before = terms(holder)[-1]
    holder.kill("serf", signal.SIGSTOP)
    try:
        stays("it holds the role", lambda: acts(holder), TIMES.ttl + 2)
    finally:
        holder.kill("serf", signal.SIGCONT)
    assert terms(holder)[-1] == before


def test_writes_on_the_side_of_the_minority_fail_or_are_committed_once(
    heap: Machines, cluster: list[Machine]
) -> None:
    leader = wait_leader(cluster, HANDED_ON)
    others = [machine for machine in cluster if machine is not leader]
    minority = [identity_of_seed(random(32)).node_id for _ in range(4)]
    majority = identity_of_seed(random(32)).node_id
    heap.switch.cut(leader.number)
    with ThreadPoolExecutor(4) as pool:
        # At once, while it still believes to lead, and when it does not any more.
        answers = list(pool.map(lambda node: leader.command("approve", node), minority))
        wait_leader(others, ELECTION * 2 + LOADED)
        assert others[0].command("approve", majority).returncode == 0
        answers += [leader.command("approve", node) for node in minority[:1]]
    assert all(
        answer.returncode and (NOBODY in answer.stderr or DOUBT in answer.stderr) for answer in answers
    )
    heap.switch.heal()
    wait_alive(cluster, BACK)
    wait_for("the ledgers to agree", lambda: len({ledger(m).approved for m in cluster}) == 1, BACK)
    approved = ledger(cluster[0]).approved
    assert majority in approved
    for node, answer in zip(minority, answers, strict=False):
        assert DOUBT in answer.stderr or node not in approved


@pytest.mark.full
def test_a_partition_longer_than_lease_and_patience_heals(heap: Machines, cluster: list[Machine]) -> None:
    lonely = wait_holder(cluster, HANDED_ON)
    others = [machine for machine in cluster if machine is not lonely]
    heap.switch.cut(lonely.number)
    wait_holder(others, HANDED_ON)
    # After 20 s it looks whether the others have gone on without its vote.
    wait_for("it to look as an observer", lambda: lonely.status()["raft"]["role"] == "observer", 30 + LOADED)
    assert lonely.status()["phase"] == "member"
    heap.switch.heal()
    wait_alive(cluster, BACK)
    wait_for("its vote", lambda: lonely.status()["raft"]["role"] in ("follower", "leader"), BACK)
    assert {len(machine.status()["raft"]["voters"]) for machine in cluster} == {3}
