# SPDX-License-Identifier: Apache-2.0
"""Removal is final, whoever is removed; the gossip gets a new key, and all others follow it.

The tests of this file share one cluster, three founders with votes and members without, and go on from one to
the next, each with some members less.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from agent.identity import identity_of_node_id
from tests.cluster.bundle import Operator, encode
from tests.cluster.machines import Machine, Machines, wait_formed
from tests.cluster.watching import (
    LIMIT,
    peers_of,
    wait_led,
    wait_members,
    wait_phase,
    wait_status,
    wait_voters,
)


class Lab(NamedTuple):
    operator: Operator
    machines: Machines
    there: list[Machine]
    """Who is a member at the moment, founders first."""

    def remove(self, machine: Machine, *, at: Machine) -> None:
        """Have an operator remove a machine, by a command on another."""
        done = at.command("remove", "--yes", machine.node_id)
        assert done.returncode == 0, done.stderr
        self.there.remove(machine)


@pytest.fixture(scope="module")
def lab(heap: Machines) -> Iterator[Lab]:
    """The cluster of this file: machines 1 to 3 found it, 4 to 6 join."""
    operator = Operator(3)
    founders = heap.start(3, encode(operator.issue()))
    wait_formed(founders)
    everybody = heap.start_more(range(4, 7), encode(operator.issue()))
    wait_formed([*founders, *everybody])
    yield Lab(operator, heap, [*founders, *everybody])


def test_a_removed_member_is_dropped_everywhere_and_the_gossip_key_changes(lab: Lab) -> None:
    gone, off = lab.there[3], lab.there[4]
    off.cut_power()  # it comes back to a gossip with a key that it does not know
    lab.remove(gone, at=lab.there[1])
    rest = [machine for machine in lab.there if machine is not off]
    key = identity_of_node_id(gone.node_id).wireguard_public_key
    for machine in rest:
        wait_status(machine, "the new key", lambda status: status["secrets"]["gossip"] == 2)
        assert gone.node_id in machine.status()["removed"]
        assert key not in peers_of(machine)
    wait_members(rest, {machine.node_id for machine in lab.there})
    wait_phase(gone, "removed", "an operator removed it, which is final")
    assert peers_of(gone) == set()
    # With the new key all find each other again, and nobody was lost on the way.
    for machine in rest:
        wait_alive(machine, {other.node_id for other in rest})


def test_a_member_that_was_off_when_the_key_changed_comes_back(lab: Lab) -> None:
    off = lab.there[3]
    off.start()
    wait_status(off, "the new key", lambda status: status["secrets"]["gossip"] == 2)
    for machine in lab.there:
        wait_alive(machine, {other.node_id for other in lab.there})


def test_neither_a_reboot_nor_the_old_credential_brings_a_removed_node_back(lab: Lab) -> None:
    gone = lab.machines[4]
    gone.cut_power()
    gone.start()
    wait_phase(gone, "removed", "wipe /var")
    gone.cut_power()
    # It forgets that it was removed, and keeps its key and its credential.
    for path in sorted((gone.state / "agent").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    gone.start()
    wait_phase(gone, "forming", "1 of 3 planned machines in sight; 2 are needed")
    # With a token it is heard, and told.
    token = lab.there[0].command("token", "--json")
    file = gone.folder / "token.json"
    file.write_text(json.loads(token.stdout)["credential"])
    assert gone.command("join", str(file)).returncode == 0
    wait_phase(gone, "removed", "it was removed, which is final")
    approved = lab.there[0].command("approve", gone.node_id)
    assert "was removed, which is final" in approved.stderr
    wait_members(lab.there, {machine.node_id for machine in lab.there})
    gone.cut_power()


def test_removing_the_leader_a_founder_leaves_a_cluster_that_goes_on(lab: Lab) -> None:
    leader = wait_led(lab.there)
    gone = next(machine for machine in lab.there if machine.node_id == leader)
    lab.remove(gone, at=lab.there[-1])
    wait_led(lab.there)
    wait_members(lab.there, {machine.node_id for machine in lab.there})
    wait_phase(gone, "removed")
    for machine in lab.there:
        wait_status(machine, "the third key", lambda status: status["secrets"]["gossip"] == 3)
        wait_alive(machine, {other.node_id for other in lab.there})
    lease = wait_status(lab.there[0], "a coordinator", _has_coordinator)["leases"][0]
    assert lease["holder"] != gone.node_id


def test_an_unreachable_node_is_removed_all_the_same_and_stays_out(lab: Lab) -> None:
    gone = lab.there[-1]
    gone.cut_power()
    lab.remove(gone, at=lab.there[0])
    wait_members(lab.there, {machine.node_id for machine in lab.there})
    for machine in lab.there:
        wait_status(machine, "the fourth key", lambda status: status["secrets"]["gossip"] == 4)
    gone.start()
    # Nobody tells it: no key of its own opens a way. So it waits, and says that it has no leader.
    wait_status(gone, "to be up", lambda status: status["mesh"] is not None)
    for machine in lab.there:
        wait_alive(machine, {other.node_id for other in lab.there})
    assert gone.status()["raft"]["leader"] is None
    assert "no leader" in gone.command("status").stdout
    assert {peer["state"] for peer in gone.status()["mesh"]["peers"]} <= {"down", "unknown"}
    gone.cut_power()


def test_a_voter_is_not_removed_while_the_cluster_cannot_do_without_it(lab: Lab) -> None:
    wait_voters(lab.there)
    leader = wait_led(lab.there)
    at = next(machine for machine in lab.there if machine.node_id == leader)
    needed, off = (machine for machine in lab.there if machine is not at)
    off.cut_power()
    wait_alive(at, {at.node_id, needed.node_id})
    refused = at.command("remove", "--yes", needed.node_id)
    assert refused.returncode == 1
    assert "only 1 of 3 votes would be left, which is no majority" in refused.stderr
    off.start()
    for machine in lab.there:
        wait_alive(machine, {other.node_id for other in lab.there})
    wait_members(lab.there, {machine.node_id for machine in lab.there})


def test_two_voters_of_three_can_go_at_once(lab: Lab) -> None:
    """One is removed while the other leaves, of its own accord: each waits until it costs no majority."""
    leader = wait_led(lab.there)
    last = next(machine for machine in lab.there if machine.node_id == leader)
    removed, leaves = (machine for machine in lab.there if machine is not last)
    with ThreadPoolExecutor() as pool:
        removal = pool.submit(last.command, "remove", "--yes", removed.node_id)
        leave = pool.submit(leaves.command, "leave", "--yes")
    assert removal.result().returncode == 0, removal.result().stderr
    assert leave.result().returncode == 0, leave.result().stderr
    lab.there[:] = [last]
    wait_members(lab.there, {last.node_id})


def test_the_last_member_cannot_be_removed(lab: Lab) -> None:
    (last,) = lab.there
    wait_status(last, "to be alone", lambda status: status["raft"]["voters"] == [last.node_id])
    refused = last.command("remove", "--yes", last.node_id)
    assert refused.returncode == 1
    assert "is the last member" in refused.stderr
    assert "is the last member" in last.command("leave", "--yes").stderr
    assert last.status()["phase"] == "member"


def wait_alive(machine: Machine, nodes: set[str]) -> None:
    """Wait until the machine sees these members alive, by gossip."""

    def is_so(status: dict[str, list[dict[str, str]]]) -> bool:
        return {member["node_id"] for member in status["members"] if member["state"] == "alive"} == nodes

    wait_status(machine, f"{len(nodes)} members alive", is_so, LIMIT)


def _has_coordinator(status: dict[str, list[dict[str, str]]]) -> bool:
    holders = {lease["holder"] for lease in status["leases"] if lease["role"] == "coordinator"}
    return holders <= {member["node_id"] for member in status["members"]} and bool(holders)
