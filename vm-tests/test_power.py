# SPDX-License-Identifier: Apache-2.0
"""Power that fails during the first boot, and clocks that are wrong."""

import json

import pytest

from harness.lab import Lab
from harness.machine import Machine
from harness.model import Boot, NodeSpec

pytestmark = pytest.mark.full

CUTS = (
    "Starting .*clusteros-state.service",  # in the initrd, while /var is made
    "Starting .*clusteros-firstboot",  # before or while the node key is written
    "identity: made a node key",
)
"""What the console says right before the plug is pulled, one first boot after the other."""


def node_id(machine: Machine) -> str:
    return str(json.loads(machine.run("node-agent", "info", "--json"))["node_id"])


def test_power_cuts_during_first_boot_leave_a_node_that_completes_it(lab: Lab) -> None:
    spec = NodeSpec("node1")
    for cut in CUTS:
        machine = lab.start(spec)
        machine.wait_console(cut)
        machine.power_cut()
    # A key that was announced is kept: the next boot shows it as this node's, and makes no other.
    machine = lab.start(spec)
    machine.wait_ready()
    assert machine.system_state() == "running"
    assert "made a node key" not in machine.console_text()
    first = node_id(machine)

    machine.power_cut()
    lab.start(spec)
    machine.wait_ready()
    assert machine.system_state() == "running"
    assert node_id(machine) == first
    machine.shutdown()


@pytest.mark.parametrize("clock", ["2001-01-01T00:00:00", "2069-12-31T23:00:00"])
def test_a_wrong_clock_does_not_keep_a_node_from_its_first_boot(lab: Lab, clock: str) -> None:
    machine = lab.start(NodeSpec("node2" if clock < "2026" else "node3"), Boot(clock=clock))
    machine.wait_ready()
    assert machine.system_state() == "running"
    assert machine.execute(["node-agent", "status"]).status == 4, "it waits for a credential"
    machine.shutdown()
