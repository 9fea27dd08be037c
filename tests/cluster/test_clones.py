# SPDX-License-Identifier: Apache-2.0
"""Copied disks and new boards: one node key, other hardware. The tests share one cluster of three."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import Machine, Machines, wait_formed
from tests.cluster.watching import peers_of, wait_led, wait_members, wait_phase, wait_status, wait_voters


@pytest.fixture(scope="module")
def founders(heap: Machines) -> Iterator[list[Machine]]:
    """The cluster of this file: machines 1 to 3."""
    found = heap.start(3, encode(make_credential(3)))
    wait_formed(found)
    wait_voters(found)
    yield found


def test_a_copied_disk_of_the_leader_harms_nobody_and_is_quarantined_and_named(
    heap: Machines, founders: list[Machine]
) -> None:
    leader = wait_led(founders)
    original = next(machine for machine in founders if machine.node_id == leader)
    others = [machine for machine in founders if machine is not original]
    original.cut_power()  # to copy its disk
    clone = heap[7]
    clone.copy_disk(original)
    original.start()
    wait_formed(founders)
    clone.give(encode(make_credential(3)))  # whatever it was given: what is on its disk counts
    clone.start()
    wait_phase(clone, "quarantined", "a copied disk, or a new board")
    assert clone.command("status").returncode == 6
    for machine in founders:
        status = wait_status(machine, "the clone", lambda status: status["clones"])
        (named,) = status["clones"]
        assert (named["node_id"], named["hardware"]) == (original.node_id, clone.hardware)
        shown = machine.command("status")
        assert shown.returncode == 7
        assert f"a clone of node {original.node_id} at {clone.address}" in shown.stdout
        assert f"hardware {clone.hardware}" in shown.stdout
        shown = machine.command("members")
        assert "clones, kept out" in shown.stdout
        # With the fingerprint of the original it must not look like a node to approve.
        assert "waiting for approval" not in shown.stdout
    # The original is what it was: alive, in the mesh, a voter.
    wait_formed(founders)
    wait_led(founders)
    assert original.status()["raft"]["role"] in ("leader", "follower")
    assert len(peers_of(original)) == 2
    for machine in others:
        assert original.address in machine.inside("wg", "show", machine.mesh, "endpoints").stdout
        assert clone.address not in machine.inside("wg", "show", machine.mesh, "endpoints").stdout
    assert peers_of(clone) == set()


def test_a_clone_is_not_approved_while_its_original_is_there(heap: Machines, founders: list[Machine]) -> None:
    done = founders[0].command("approve", heap[7].node_id)
    assert done.returncode == 1
    assert "is a member already" in done.stderr
    assert "no copy of it" in done.stderr
    heap[7].cut_power()


def test_a_new_board_is_let_in_once_an_operator_approves_it(founders: list[Machine]) -> None:
    leader = wait_led(founders)
    machine, *others = sorted(founders, key=lambda machine: machine.node_id == leader)
    address = machine.status()["mesh"]["ipv4"]
    machine.cut_power()
    machine.hardware = "aa0000000001"
    machine.start()
    wait_phase(machine, "quarantined", f"node-agent approve {machine.node_id}")
    for other in others:
        wait_status(other, "the new board alone", lambda status: _is_seen_alone(status, machine))
    done = others[0].command("approve", "--json", machine.node_id)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["node_id"] == machine.node_id
    wait_phase(machine, "member")
    machine.start_wireguard()  # this stand-in for the kernel's ended with the interface
    wait_formed(founders)
    assert machine.status()["mesh"]["ipv4"] == address
    # It has its vote again as well, from the log on its disk.
    wait_status(machine, "its vote", lambda status: status["raft"]["role"] in ("follower", "leader"))
    for other in others:
        wait_status(other, "no clone", lambda status: not status["clones"])


def test_a_copy_of_a_disk_from_before_it_joined_gets_in_once(heap: Machines, founders: list[Machine]) -> None:
    """Two machines with one node key ask to be members: the first one is, the other is a clone."""
    first, second = heap[5], heap[6]
    second.copy_disk(first)
    credential = founders[0].folder / "cluster-os.join"
    first.give(credential.read_bytes())
    second.give(credential.read_bytes())
    first.start()
    wait_formed([*founders, first])
    second.start()
    wait_phase(second, "quarantined", f"is on hardware {first.hardware}")
    assert not (second.state / "agent/genesis.msgpack").exists()
    wait_status(founders[0], "the clone", lambda status: status["clones"])
    wait_members([*founders, first], {machine.node_id for machine in (*founders, first)})
    assert first.status()["phase"] == "member"


def _is_seen_alone(status: dict[str, list[dict[str, str]]], machine: Machine) -> bool:
    """Tell whether the member is known to be down, and its key to be on other hardware."""
    (member,) = (member for member in status["members"] if member["node_id"] == machine.node_id)
    return member["state"] != "alive" and [clone["hardware"] for clone in status["clones"]] == [
        machine.hardware
    ]
