# SPDX-License-Identifier: Apache-2.0
"""Five machines from one image."""

import pytest

from harness.cluster import read_status, wait_formed
from harness.lab import Lab
from harness.model import JOIN_CREDENTIAL, Boot, NodeSpec
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential

pytestmark = pytest.mark.full

READY_LIMIT = 900.0
"""Seconds for five boots at once on two cores under TCG; it takes some 500."""
VOTERS_LIMIT = 180.0


def test_five_machines_form_one_cluster_and_come_back_after_a_power_cut(lab: Lab) -> None:
    boot = Boot({JOIN_CREDENTIAL: encode(make_credential(5))})
    # Two processors each would wait for each other on two cores.
    machines = [lab.start(NodeSpec(f"node{number}", cpus=1), boot) for number in range(1, 6)]
    for machine in machines:
        machine.wait_ready(READY_LIMIT)
    before = wait_formed(machines)
    # Three of them may have founded it.
    wait_for("five voters", lambda: len(read_status(machines[0])["raft"]["voters"]) == 5, VOTERS_LIMIT)
    assert {machine.system_state() for machine in machines} == {"running"}
    for machine in machines:
        machine.power_cut()
    for machine in machines:
        lab.start(machine.spec, boot)
    for machine in machines:
        machine.wait_ready(READY_LIMIT)
    after = wait_formed(machines)
    assert [d["cluster"]["genesis"] for d in after] == [d["cluster"]["genesis"] for d in before]
    assert [d["mesh"]["ipv4"] for d in after] == [d["mesh"]["ipv4"] for d in before]
