# SPDX-License-Identifier: Apache-2.0
"""Profile kube with a recorder in the place of k3s (tests/k3s_recorder): units, settings, order, tokens.

Not k3s itself: docs/kubernetes.md says what has not been run against it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

READY_LIMIT = 900.0
"""Seconds for four boots at once on two cores under TCG."""
RUN_LIMIT = 300.0
"""Seconds from a formed cluster to three servers, one after the other, and an agent."""
SERVER_MEMORY, AGENT_MEMORY = 2048, 1024
"""MiB: the second is too little for a server."""
_WRITES = b"[Service]\nReadWritePaths=/var/lib/rancher/recorder\n"
"""What the recorder needs as kubectl, and kubectl does not: it writes down what it is told."""


@pytest.fixture(scope="module")
def image() -> Path:
    """The disk image of profile kube, with the recorder in it; `./build.py test --full` makes it."""
    return find_image(PROJECT / "out/kube-recorder")


@pytest.fixture(scope="module")
def boot() -> Boot:
    """What each of the machines is started with."""
    credential = encode(make_credential(4))
    return Boot({JOIN_CREDENTIAL: credential, "systemd.unit-dropin.k3s-forget@.service": _WRITES})


@pytest.fixture(scope="module")
def four(lab: Lab, boot: Boot) -> Iterator[list[Machine]]:
    """node1 to node3, which can be servers, and node4, which cannot."""
    sizes = (*[SERVER_MEMORY] * 3, AGENT_MEMORY)
    specs = [NodeSpec(f"node{number}", memory=size) for number, size in enumerate(sizes, 1)]
    machines = [lab.start(spec, boot) for spec in specs]
    for machine in machines:
        machine.wait_ready(READY_LIMIT)
    wait_formed(machines)
    yield machines


def is_active(machine: Machine, unit: str) -> bool:
    return machine.execute(["systemctl", "is-active", "--quiet", unit]).status == 0


def record(machine: Machine) -> list[dict[str, Any]]:
    """What the recorder wrote there."""
    done = machine.execute(["cat", "/var/lib/rancher/recorder/record"])
    return [json.loads(line) for line in done.stdout.decode().splitlines()] if done.status == 0 else []


def find(machine: Machine, what: str) -> list[dict[str, Any]]:
    return [entry for entry in record(machine) if entry["what"] == what]


def test_the_recorder_runs_as_three_servers_and_an_agent(four: list[Machine]) -> None:
    def all_run() -> bool:
        servers = all(is_active(machine, "k3s-server") for machine in four[:3])
        return servers and is_active(four[3], "k3s-agent")

    wait_for("three servers and an agent", all_run, RUN_LIMIT)
    for machine in four[:3]:
        assert not is_active(machine, "k3s-agent")
        assert find(machine, "refused to start") == []
    assert not is_active(four[3], "k3s-server")
    roles = {role["name"]: role for role in json.loads(four[3].run("node-agent", "roles", "--json"))["roles"]}
    assert roles["k3s-server"]["state"] == "unfit"
    assert "MiB of memory" in roles["k3s-server"]["reason"]


def test_the_recorder_was_begun_once_and_all_others_joined(four: list[Machine]) -> None:
    configured = {machine.name: find(machine, "configured")[0] for machine in four}
    beginners = [name for name, entry in configured.items() if "cluster-init" in entry["config"]]
    assert len(beginners) == 1
    runs = [find(machine, "runs")[0] for machine in four]
    assert len({entry["identifier"] for entry in runs}) == 1
    let_in = {entry["node"] for machine in four for entry in find(machine, "let in")}
    hostnames = {machine.name: machine.run("hostname").strip() for machine in four}
    assert let_in == {name for machine, name in hostnames.items() if machine not in beginners}
    assert not any(find(machine, "refused") for machine in four), "each had its token at once"


def test_the_recorder_finds_what_k3s_needs_of_a_machine(four: list[Machine]) -> None:
    for machine in four:
        (entry,) = find(machine, "configured")
        config = entry["config"]
        status = json.loads(machine.run("node-agent", "status", "--json"))
        assert config["node-ip"] == status["mesh"]["ipv4"]
        assert config["flannel-iface"] == status["mesh"]["interface"]
        assert config["node-name"] == status["hostname"]
        assert entry["images"] == ["k3s-airgap-images-amd64.tar.zst"]
        assert machine.run("ip", "-4", "route", "show", "default").strip()
        rules = machine.run("nft", "list", "table", "inet", "cluster-os")
        assert rules.count("jump k3s-input") == rules.count("jump k3s-forward") == 1
        modules = machine.run("lsmod")
        for module in ("br_netfilter", "overlay", "vxlan", "nf_conntrack"):
            assert f"\n{module} " in modules


def test_the_recorders_tokens_are_for_root_and_that_of_servers_is_on_servers(
    four: list[Machine],
) -> None:
    for machine in four:
        listed = machine.run("find", "/run/cluster-os-roles/secrets", "-type", "f", "-printf", "%f %m %u\n")
        names = {"k3s-server.agent-token"} | ({"k3s-server.token"} if machine is not four[3] else set())
        assert set(listed.split("\n")) - {""} == {f"{name} 600 root" for name in names}


def test_a_server_of_the_recorder_comes_back_with_what_it_had(
    lab: Lab, four: list[Machine], boot: Boot
) -> None:
    machine = next(each for each in four if "cluster-init" in find(each, "configured")[0]["config"])
    identifier = find(machine, "runs")[0]["identifier"]
    machine.power_cut()
    lab.start(machine.spec, boot)
    machine.wait_ready(READY_LIMIT)
    wait_for("it to run again", lambda: len(find(machine, "runs")) == 2, RUN_LIMIT)
    assert find(machine, "runs")[1]["identifier"] == identifier
    assert "cluster-init" not in find(machine, "configured")[1]["config"]


def test_the_recorder_lets_go_of_a_member_that_is_removed(four: list[Machine]) -> None:
    gone = four[3]
    hostname = gone.run("hostname").strip()
    four[0].run("node-agent", "remove", hostname, "--yes")

    def commands() -> list[list[str]]:
        return [entry["arguments"] for machine in four[:3] for entry in find(machine, "kubectl")]

    wait_for("it to be let go of", lambda: len(commands()) >= 2, RUN_LIMIT)
    assert ["delete", "node", hostname] in [each[:3] for each in commands()]
    assert ["delete", "secret", f"{hostname}.node-password.k3s"] in [each[:3] for each in commands()]
    wait_for("its agent to stop", lambda: not is_active(gone, "k3s-agent"), RUN_LIMIT)
