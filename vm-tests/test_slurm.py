# SPDX-License-Identifier: Apache-2.0
"""Three machines of profile hpc run SLURM by themselves."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cluster import wait_formed
from harness.disks import find_image
from harness.lab import Lab
from harness.machine import Machine
from harness.model import JOIN_CREDENTIAL, Boot, NodeSpec
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential

PROJECT = Path(__file__).parents[1]
pytestmark = pytest.mark.full

SLURM_LIMIT = 240.0
"""Seconds from a formed cluster to three workers that are idle, under TCG."""
RUN_LIMIT = 240.0
"""Seconds for one `srun`: on busy cores a lease may end meanwhile, and the controller is started again."""


@pytest.fixture(scope="module")
def image() -> Path:
    """The disk image of profile hpc."""
    return find_image(PROJECT / "out/hpc")


@pytest.fixture(scope="module")
def trio(lab: Lab) -> Iterator[list[Machine]]:
    """node1 to node3, one cluster."""
    boot = Boot({JOIN_CREDENTIAL: encode(make_credential(3))})
    machines = [lab.start(NodeSpec(f"node{number}"), boot) for number in (1, 2, 3)]
    for machine in machines:
        machine.wait_ready()
    wait_formed(machines)
    yield machines


def idle(machine: Machine) -> int:
    """How many workers SLURM has that are idle, as this machine sees it."""
    done = machine.execute(["sinfo", "--noheader", "--Node", "--format=%N %t"])
    return done.stdout.decode().count(" idle\n") if done.status == 0 else 0


def test_srun_runs_on_all_members(trio: list[Machine]) -> None:
    wait_for("three idle workers", lambda: idle(trio[0]) == 3, SLURM_LIMIT)
    names = {machine.run("hostname") for machine in trio}
    for machine in trio:
        assert set(machine.run("srun", "-N3", "hostname", limit=RUN_LIMIT).split()) == names


def test_one_member_has_the_controller_and_all_say_who(trio: list[Machine]) -> None:
    holders = set()
    for machine in trio:
        roles = json.loads(machine.run("node-agent", "roles", "--json"))
        states = {role["name"]: role["state"] for role in roles["roles"]}
        assert states.pop("slurm-controller") in ("running", "elsewhere")
        assert states == {"names": "running", "slurm-worker": "running"}
        holders |= {lease["holder"] for lease in roles["leases"] if lease["role"] == "slurm-controller"}
    assert len(holders) == 1
    assert sum(machine.execute(["systemctl", "is-active", "slurmctld"]).status == 0 for machine in trio) == 1
