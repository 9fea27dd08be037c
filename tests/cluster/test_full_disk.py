# SPDX-License-Identifier: Apache-2.0
"""A member whose /var is full says so, keeps what it has, and recovers when there is room."""

import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl.utils import random

from agent.identity import identity_of_seed
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import FORM_LIMIT, Machine, Machines, members, wait_formed
from tests.cluster.observed import (
    ELECTION,
    LOADED,
    ledger,
    restart_agent,
    wait_alive,
    wait_leader,
)
from tests.cluster.watching import wait_voters

pytestmark = pytest.mark.full

SIZE = "1m"
SAID = "no space left on device"
RECOVERED = 30.0


@pytest.fixture(scope="module")
def cluster(heap: Machines) -> Iterator[list[Machine]]:
    """Three members, each with a small disk of its own."""
    machines = [heap[number] for number in (1, 2, 3)]
    mounted: list[Path] = []
    try:
        for machine in machines:
            content = machine.folder / "content"
            machine.state.rename(content)
            machine.state.mkdir()
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", machine.state], check=True
            )
            mounted.append(machine.state)
            shutil.copytree(content, machine.state, dirs_exist_ok=True)
        wait_formed(heap.start(3, encode(make_credential(3))))
        wait_voters(machines)
        yield machines
    finally:
        heap.end()
        for path in mounted:
            subprocess.run(["umount", "--lazy", path], check=True)


def fill(machine: Machine) -> Path:
    """Leave no room on its disk; return the file that takes it."""
    path = machine.state / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return path


def approve(machine: Machine) -> str:
    """Have a node approved, which is written on every disk; return its ID, empty when it was refused."""
    node = identity_of_seed(random(32)).node_id
    return node if machine.command("approve", node).returncode == 0 else ""


def test_a_full_disk_of_the_leader_costs_the_cluster_an_election_only(cluster: list[Machine]) -> None:
    wait_alive(cluster)
    leader = wait_leader(cluster, FORM_LIMIT)
    others = [machine for machine in cluster if machine is not leader]
    genesis = leader.status()["cluster"]["genesis"]
    filler = fill(leader)
    assert approve(others[0])
    wait_for("it to say so", lambda: SAID in (leader.status()["error"] or ""), LOADED)
    # Its journal has some room left.
    wait_for("another leader", lambda: (approve(others[0]), leads(others))[1], FORM_LIMIT)
    node = wait_for("a write", lambda: approve(others[0]), ELECTION + LOADED)
    assert leader.status()["phase"] == "member"
    assert SAID in leader.status()["error"]
    assert members(leader) == {machine.node_id for machine in cluster}
    # A new start on the full disk changes nothing.
    restart_agent(leader)
    assert (leader.status()["phase"], leader.status()["cluster"]["genesis"]) == ("member", genesis)
    filler.unlink()
    wait_for("the news on its disk", lambda: node in ledger(leader).approved, RECOVERED)
    wait_alive(cluster, RECOVERED)
    wait_for("it to vote", lambda: leader.status()["raft"]["role"] in ("leader", "follower"), RECOVERED)
    wait_for("no error", lambda: not leader.status()["error"], RECOVERED)


def leads(machines: list[Machine]) -> bool:
    return any(machine.status()["raft"]["role"] == "leader" for machine in machines)
