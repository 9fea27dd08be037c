# SPDX-License-Identifier: Apache-2.0
"""The machines of this folder: they start once, and each file leaves them as it found them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.users.user import User
from conftest import open_lab
from harness import slurm
from harness.cluster import wait_formed, wait_settled
from harness.disks import find_image
from harness.lab import Lab
from harness.machine import Machine
from harness.model import JOIN_CREDENTIAL, Boot, NodeSpec
from harness.slurm import SLURM_LIMIT
from harness.waiting import wait_for
from image.toolstree import ToolsTree
from tests.cluster.bundle import encode, make_credential

PROJECT = Path(__file__).parents[2]
DROP_IN = "systemd.unit-dropin.clusteros-{}.service"
LEASE = b"CLUSTEROS_ELECTION_LEASE=20"
"""Starting a program takes an emulated machine as long as a lease of 6 s, and the agent waits with it."""
HUB = b"CLUSTEROS_NETWORKING_OPEN_PORTS=tcp/8443"
"""People reach JupyterHub from outside of the mesh."""
MEMORY = 1536
"""MiB: a hub, its proxy, SLURM and a notebook may meet on one machine."""
_HASH = (
    "$6$saltofalice$YMabAI0CMpbZOxvZ2MIZpS89HnXNcVGRm04QFzo/M3.tmy.oTNbpUSA1nMcQUJaLmJ0tgxWB3c/139GgarJ8b."
)
ALICE = User(
    "alice",
    1001,
    password_hash=_HASH,
)
"""Her password is "correct horse"."""


@pytest.fixture(scope="session")
def image() -> Path:
    """The disk image of profile hpc."""
    return find_image(PROJECT / "out/hpc")


@pytest.fixture(scope="package")
def lab(request: pytest.FixtureRequest, tools: ToolsTree, image: Path) -> Iterator[Lab]:
    """Machines for all files."""
    with open_lab(request.config, "test-hpc", tools, image) as found:
        yield found


@pytest.fixture(scope="package")
def boot() -> Boot:
    """What each of the machines is started with."""
    credential = encode(make_credential(3), users=(ALICE,))
    variables = {"agent": LEASE, "firewall": HUB}
    drop_ins = {DROP_IN.format(of): b"[Service]\nEnvironment=%b\n" % what for of, what in variables.items()}
    return Boot({JOIN_CREDENTIAL: credential, **drop_ins})


@pytest.fixture(scope="package")
def trio(lab: Lab, boot: Boot) -> list[Machine]:
    """node1 to node3, one cluster with three workers."""
    machines = [lab.start(NodeSpec(f"node{number}", memory=MEMORY, cpus=1), boot) for number in (1, 2, 3)]
    for machine in machines:
        machine.wait_ready()
    wait_formed(machines)
    wait_for("three idle workers", lambda: slurm.idle(machines[0]) == 3, SLURM_LIMIT, every=2.0)
    wait_settled(machines, SLURM_LIMIT)
    return machines
