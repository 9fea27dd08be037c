# SPDX-License-Identifier: Apache-2.0
"""Who votes in a cluster that grows, loses machines and gets them back."""

import shutil

import pytest

from harness.waiting import wait_for
from tests.cluster.bundle import Operator, encode
from tests.cluster.machines import FORM_LIMIT, Machine, Machines, members, wait_formed
from tests.cluster.observed import LOADED, VOTER_STEP, ledger, stays, wait_alive, wait_leader, wait_voters

pytestmark = pytest.mark.full

GRACE = 4
"""Seconds after which a voter that is away is replaced, and a member counts as settled, here."""
DETECTED = 20.0
"""Seconds after which gossip holds a machine for dead at the latest."""


@pytest.fixture(scope="module")
def machines_of_six(heap: Machines) -> list[Machine]:
    """Six machines that are switched off. The first has a founding medium; five are to vote."""
    operator = Operator(0)
    six = [heap[number] for number in range(1, 7)]
    for machine in six:
        machine.give(encode(operator.issue(founder=machine is six[0]), voters=5))
        machine.variables["CLUSTEROS_ELECTION_VOTER_GRACE"] = str(GRACE)
    return six


@pytest.fixture(scope="module")
def cluster(machines_of_six: list[Machine]) -> list[Machine]:
    """The six as one cluster of which five vote."""
    founder, *others = machines_of_six
    founder.start()
    wait_formed([founder])
    assert ledger(founder).voters == (founder.node_id,)
    grow(machines_of_six[:1], others[:2], voters=3)
    grow(machines_of_six[:3], others[2:4], voters=5)
    grow(machines_of_six[:5], others[4:], voters=5)
    return machines_of_six


def grow(before: list[Machine], new: list[Machine], *, voters: int) -> None:
    for machine in new:
        machine.start()
    wait_formed([*before, *new])
    wait_voters([*before, *new], voters)


def voters(machine: Machine) -> set[str]:
    return set(ledger(machine).voters)


def test_a_cluster_that_grows_gets_more_voters_up_to_the_wanted_number(cluster: list[Machine]) -> None:
    assert len(voters(cluster[0])) == 5
    (spare,) = (machine for machine in cluster if machine.node_id not in voters(cluster[0]))
    assert spare.status()["raft"]["role"] == "observer"


def test_a_voter_that_was_lost_without_goodbye_and_comes_back_in_time_keeps_its_vote(
    cluster: list[Machine],
) -> None:
    before = voters(cluster[0])
    leader = wait_leader(cluster, VOTER_STEP)
    victim = next(m for m in cluster if m.node_id in before and m is not leader)
    victim.cut_power()
    victim.start()
    wait_alive(cluster, DETECTED + LOADED)
    wait_voters(cluster, 5)
    assert voters(leader) == before


def test_a_voter_that_is_gone_for_good_is_replaced_and_comes_back_as_an_observer(
    cluster: list[Machine],
) -> None:
    before = voters(cluster[0])
    leader = wait_leader(cluster, VOTER_STEP)
    victim = next(m for m in cluster if m.node_id in before and m is not leader)
    (spare,) = (machine for machine in cluster if machine.node_id not in before)
    others = [machine for machine in cluster if machine is not victim]
    victim.cut_power()
    wait_voters(others, 5)
    assert voters(leader) == before - {victim.node_id} | {spare.node_id}
    assert members(leader) == {machine.node_id for machine in cluster}, "down is not removed"
    victim.start()
    wait_for("it to follow", lambda: victim.status().get("raft", {}).get("role") == "observer", FORM_LIMIT)
    wait_alive(cluster, FORM_LIMIT)
    stays("no vote", lambda: victim.status()["raft"]["role"] == "observer", 3)
    assert voters(victim) == voters(leader)


def test_a_voter_that_lost_its_log_gets_a_new_vote(cluster: list[Machine]) -> None:
    leader = wait_leader(cluster, VOTER_STEP)
    victim = next(m for m in cluster if m.node_id in voters(leader) and m is not leader)
    victim.cut_power()
    shutil.rmtree(victim.state / "agent/raft")
    victim.start()
    wait_for("its vote to be taken", lambda: victim.node_id not in voters(leader), FORM_LIMIT)
    wait_voters(cluster, 5)
    wait_alive(cluster, DETECTED + LOADED)


def test_the_cluster_goes_on_when_the_founding_node_is_gone(cluster: list[Machine]) -> None:
    founder, *others = cluster
    founder.cut_power()
    wait_leader(others, FORM_LIMIT)
    wait_voters(others, 5)
    assert founder.node_id not in voters(others[0])
    # And without a hand also for good.
    done = others[0].command("remove", "--yes", founder.node_id)
    assert done.returncode == 0, done.stderr
    wait_formed(others)
    wait_alive(others)
