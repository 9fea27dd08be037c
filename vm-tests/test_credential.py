# SPDX-License-Identifier: Apache-2.0
"""A machine without a credential waits; one whose ESP has it becomes a cluster."""

import json

from harness.cluster import read_status, wait_formed
from harness.lab import Lab
from harness.model import NodeSpec
from image.cluster.issue import encode_for_esp
from image.toolstree import ToolsTree
from tests.cluster.bundle import make_credential

ESP = "/dev/disk/by-partlabel/esp"


def test_a_machine_waits_for_its_credential_and_takes_it_from_the_esp(lab: Lab, tools: ToolsTree) -> None:
    machine = lab.start(NodeSpec("node1"))
    machine.wait_ready()
    assert machine.system_state() == "running"
    result = machine.execute(["node-agent", "status", "--json"])
    assert result.status == 4
    waiting = json.loads(result.stdout)
    assert waiting["phase"] == "waiting"
    assert "credential" in waiting["sentence"]

    script = f"""
        set -eu
        mkdir -p /run/esp
        mount {ESP} /run/esp
        mkdir -p /run/esp/loader/credentials
        cat >/run/esp/loader/credentials/cluster-os.join.cred
        umount /run/esp
    """
    closed = encode_for_esp(make_credential(1), tools)
    done = machine.execute(["sh", "-c", script], stdin=closed)
    assert done.status == 0, done.stderr
    machine.reboot()
    wait_formed([machine])
    assert machine.system_state() == "running"
    assert read_status(machine)["raft"]["role"] == "leader"
