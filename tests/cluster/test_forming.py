# SPDX-License-Identifier: Apache-2.0
"""Machines that are switched on form one cluster, by themselves, whatever happens to them meanwhile."""

import random
import signal
from typing import Any

from agent.cluster import Credential
from agent.formation import acceptor
from agent.formation.plan import LOOK
from agent.service.daemon import QUICK
from harness import processes
from harness.waiting import wait_for
from tests.cluster.bundle import Operator, encode, make_credential
from tests.cluster.machines import FORM_LIMIT, Machine, Machines, members, wait_formed
from tests.cluster.watching import wait_led, wait_phase, wait_status, wait_voters


def test_three_machines_form_one_cluster(machines: Machines) -> None:
    wait_formed(machines.start(3, encode(make_credential(3))))


def test_who_comes_late_gets_a_vote_within_seconds(machines: Machines) -> None:
    credential = encode(make_credential(3))
    founders = machines.start(2, credential)
    wait_formed(founders)
    assert [len(_votes(machine)) for machine in founders] == [1, 1]
    late = machines[3]
    late.give(credential)
    late.start()
    wait_formed(machines.all())
    wait_voters(machines.all(), limit=20.0)


def test_the_order_of_power_on_does_not_matter(machines: Machines) -> None:
    """One order here; many in tests/test_formation_simulated.py."""
    credential = encode(make_credential(5))
    for number in random.sample(range(1, 6), 5):
        machines[number].give(credential)
        machines[number].start()
        wait_for(f"node{number} to look for others", machines[number].status, FORM_LIMIT)
    wait_formed(machines.all())


def test_a_founder_that_dies_half_way_comes_back_to_the_one_cluster(machines: Machines) -> None:
    planned = make_credential(5)
    everybody = [machines[number] for number in range(1, 6)]
    first, *others = sorted(everybody, key=lambda machine: machine.node_id)  # it proposes
    machines.start(5, encode(planned))
    wait_for("a ballot", lambda: _state(first, planned).promised, FORM_LIMIT, every=0.01)
    first.cut_power()
    wait_for("the others to go on", lambda: _has_formed(others), FORM_LIMIT)
    first.start()
    wait_formed(everybody)


def test_a_founder_that_did_not_hear_the_decision_still_ends_up_a_voter(machines: Machines) -> None:
    planned = make_credential(3)
    everybody = sorted((machines[number] for number in range(1, 4)), key=lambda machine: machine.node_id)
    last = everybody[-1]
    machines.start(3, encode(planned))
    (agent,) = processes.find(machines.switch.group, f"{last.name}.agent")
    wait_for("its vote", lambda: _state(last, planned).vote, FORM_LIMIT, every=0.005)
    agent.signal(signal.SIGKILL)
    assert not (last.state / "agent/genesis.msgpack").exists(), "it was too quick for this test"
    last.cut_power()
    wait_for("the others to form", lambda: _has_formed(everybody[:2]), FORM_LIMIT)
    last.start()
    wait_formed(everybody)
    wait_for(
        "all three to vote",
        lambda: all(_votes(machine) == {other.node_id for other in everybody} for machine in everybody),
        FORM_LIMIT,
    )
    # It votes indeed: with another one off, there is a majority only with it.
    everybody[0].cut_power()
    wait_led(everybody[1:])


def test_a_split_network_forms_on_the_side_of_the_majority_only(machines: Machines) -> None:
    everybody = [machines[number] for number in range(1, 6)]
    minority, majority = everybody[:2], everybody[2:]
    machines.switch.split([1, 2], [3, 4, 5])
    machines.start(5, encode(make_credential(5)))
    wait_formed(majority)
    for machine in minority:
        assert machine.status()["phase"] == "forming"
        assert "2 of 5 planned machines in sight; 3 are needed" in machine.status()["sentence"]
    machines.switch.heal()
    wait_formed(everybody)


def test_a_founding_medium_founds_alone_and_all_others_only_join(machines: Machines) -> None:
    operator = Operator(0)
    for number in (1, 2):
        machines[number].give(encode(operator.issue()))
        machines[number].start()
    for number in (1, 2):
        wait_phase(machines[number], "joining", "it looks for a cluster to join")
    machines[3].give(encode(operator.issue(founder=True)))
    machines[3].start()
    wait_formed(machines.all())
    assert not (machines[1].state / "agent/forming.msgpack").exists()


def test_a_machine_that_sees_a_cluster_joins_it_and_founds_none(machines: Machines) -> None:
    credential = encode(make_credential(1))  # with it each machine may found alone
    wait_formed(machines.start(1, credential))
    machines[2].give(credential)
    machines[2].start()
    wait_formed(machines.all())


def test_a_machine_whose_gossip_runs_late_founds_none_before(machines: Machines) -> None:
    """A slow machine has its agent long before its Serf, or its network long after both."""
    credential = encode(make_credential(1))
    wait_formed(machines.start(1, credential))
    late = machines[2]
    late.serf_may_start.clear()
    late.give(credential)
    late.start()

    def has_looked() -> bool:
        tick: dict[str, int] = late.status().get("tick") or {"count": 0}
        return tick["count"] * QUICK > 2 * LOOK

    wait_for("node2 to have looked for long", has_looked, FORM_LIMIT)
    assert late.status()["phase"] == "forming"
    late.serf_may_start.set()
    wait_formed(machines.all())


def test_clusters_of_more_machines_than_planned_do_not_merge_and_say_so(machines: Machines) -> None:
    credential = encode(make_credential(1))
    one, other, third = (machines[number] for number in (1, 2, 3))
    machines.switch.split([1], [2])
    machines.start(2, credential)
    wait_formed([one])
    wait_formed([other])
    geneses = {machine.status()["cluster"]["genesis"] for machine in (one, other)}
    assert len(geneses) == 2
    machines.switch.heal()
    third.give(credential)
    third.start()
    for machine, stranger in ((one, other), (other, one)):
        _wait_foreign(machine, {stranger.node_id})
        shown = machine.command("status")
        assert shown.returncode == 7
        assert "another cluster of the same credential is here" in shown.stdout
        assert "nothing merges; wipe /var" in shown.stdout
        assert "another cluster of the same credential" in machine.command("console", "--once").stdout
    wait_phase(third, "joining", "there are 2 clusters with this credential")
    _wait_foreign(third, {one.node_id, other.node_id})
    for machine in (one, other):
        assert machine.status()["cluster"]["genesis"] in geneses
        assert members(machine) == {machine.node_id}
        assert machine.status()["raft"]["role"] == "leader"
        changed = machine.command("approve", third.node_id)
        assert changed.returncode == 0, "each of them goes on: " + changed.stderr
    assert third.status()["phase"] == "joining"


def test_a_cluster_survives_that_all_machines_are_switched_off_and_on_in_any_order(
    machines: Machines,
) -> None:
    everybody = machines.start(5, encode(make_credential(5)))
    wait_formed(everybody)
    before = everybody[0].status()
    for machine in everybody:
        machine.cut_power()
    for number in (4, 2, 5, 1, 3):
        machines[number].start()
    wait_formed(everybody)
    after = everybody[0].status()
    assert after["cluster"]["genesis"] == before["cluster"]["genesis"]
    assert _addresses(after) == _addresses(before)
    done = everybody[0].command("approve", everybody[0].node_id)
    assert "is a member already" in done.stderr
    # The ledger goes on where it was: a change is committed by the same cluster.
    assert everybody[1].command("remove", "--yes", everybody[4].node_id).returncode == 0


def _state(machine: Machine, credential: Credential) -> acceptor.State:
    """Return what the machine has promised and voted so far."""
    path = machine.state / "agent/forming.msgpack"
    try:
        return acceptor.decode_state(path.read_bytes(), credential.cluster_id, str(path))
    except FileNotFoundError:
        return acceptor.State()


def _has_formed(machines: list[Machine]) -> bool:
    documents = [machine.status() for machine in machines]
    return all(
        document.get("phase") == "member" and document["raft"]["leader"] is not None for document in documents
    )


def _votes(machine: Machine) -> set[str]:
    return set(machine.status()["raft"]["voters"])


def _wait_foreign(machine: Machine, nodes: set[str]) -> None:
    def is_so(status: dict[str, Any]) -> bool:
        return {node for other in status["foreign"] for node in other["nodes"]} == nodes

    wait_status(machine, "the members of the other cluster", is_so)


def _addresses(status: dict[str, object]) -> dict[str, tuple[str, str]]:
    found = status["members"]
    assert isinstance(found, list)
    return {member["node_id"]: (member["ipv4"], member["ipv6"]) for member in found}
