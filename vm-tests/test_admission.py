# SPDX-License-Identifier: Apache-2.0
"""Machines that come to a cluster which is there: approved, copied from a member, not on the list."""

import shutil
from collections.abc import Iterator

import pytest

from agent.cluster import Credential, Policy
from harness.cluster import read_status, wait_formed
from harness.lab import Lab
from harness.machine import Machine
from harness.model import JOIN_CREDENTIAL, Boot, Json, NodeSpec
from harness.waiting import wait_for
from tests.cluster.bundle import Operator, encode

pytestmark = pytest.mark.full

PHASE_LIMIT = 120.0
"""Seconds until a machine that is ready says where it stands, under TCG."""
PENDING, OUT = 5, 6
"""Exit statuses of `node-agent status`."""


def give(credential: Credential, clock: str = "utc") -> Boot:
    return Boot({JOIN_CREDENTIAL: encode(credential)}, clock)


def wait_phase(machine: Machine, phase: str) -> Json:
    """Wait until the machine stands in this phase; return its status."""

    def stands() -> Json | None:
        status = read_status(machine)
        return status if status.get("phase") == phase else None

    return wait_for(f"{machine.name} to be {phase}", stands, PHASE_LIMIT)


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator(1, policy=Policy.APPROVE)


@pytest.fixture(scope="module")
def founder(lab: Lab, operator: Operator) -> Iterator[Machine]:
    """node1, a cluster of one that admits who is approved."""
    machine = lab.start(NodeSpec("node1"), give(operator.plan))
    machine.wait_ready()
    wait_formed([machine])
    yield machine


def test_a_machine_with_a_wrong_clock_waits_for_approval_and_is_a_member(
    lab: Lab, founder: Machine, operator: Operator
) -> None:
    joiner = lab.start(NodeSpec("node2"), give(operator.plan, clock="2001-01-01T00:00:00"))
    joiner.wait_ready()
    waiting = wait_phase(joiner, "pending")
    assert joiner.execute(["node-agent", "status"]).status == PENDING
    assert waiting["fingerprint"] in founder.run("node-agent", "members")
    founder.run("node-agent", "approve", waiting["node_id"])
    wait_formed([founder, joiner])
    assert joiner.system_state() == "running"


def test_a_copied_disk_is_kept_out_and_named(lab: Lab, founder: Machine, operator: Operator) -> None:
    original = lab.group.machine("node2")
    node = read_status(original)["node_id"]
    original.power_cut()
    clone = lab.make(NodeSpec("node3"))
    shutil.copyfile(original.paths.disk, clone.paths.disk)
    for machine in (original, clone):
        lab.start(machine.spec, give(operator.plan))
    for machine in (original, clone):
        machine.wait_ready()
    wait_phase(clone, "quarantined")
    assert clone.execute(["node-agent", "status"]).status == OUT
    wait_formed([founder, original])
    (named,) = read_status(founder)["clones"]
    assert named["node_id"] == node
    assert named["address"] == clone.spec.address
    clone.power_cut()


def test_a_machine_that_is_not_on_the_list_is_refused(lab: Lab) -> None:
    """A node ID is known once the machine has run, so the first one gets its credential when it runs."""
    for machine in lab.group.machines():
        machine.power_cut()
    listed, other = lab.start(NodeSpec("node4")), lab.start(NodeSpec("node5"))
    listed.wait_ready()
    node = wait_phase(listed, "waiting")["node_id"]
    operator = Operator(1, policy=Policy.ALLOWLIST, allowlist=(node,))
    for machine in (listed, other):
        machine.wait_ready()
        script = "umask 077; cat >/run/credential; node-agent join /run/credential"
        done = machine.execute(["sh", "-ec", script], stdin=encode(operator.issue()))
        assert done.status == 0, done.stderr
    wait_formed([listed])
    refused = wait_for("its refusal", lambda: _says(other, "allowlist"), PHASE_LIMIT)
    assert refused["phase"] == "joining"
    assert {member["node_id"] for member in read_status(listed)["members"]} == {node}


def _says(machine: Machine, word: str) -> Json | None:
    status = read_status(machine)
    return status if word in status.get("sentence", "") else None
