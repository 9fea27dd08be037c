# SPDX-License-Identifier: Apache-2.0
"""Two machines from one image boot into two healthy, different nodes."""

import json
from typing import Any

import pytest

from harness.lab import Lab
from harness.machine import Machine
from harness.model import Json, NodeSpec

WORLD_LISTENERS = {("udp", 68), ("udp", 546), ("udp", 5353)}
"""What may listen beyond loopback before a node belongs to a cluster: DHCP clients and multicast DNS."""

GOSSIP_PORT, OTHER_PORT = 7946, 9999
"""TCP ports of which the firewall opens the first one only."""


@pytest.fixture(scope="module")
def pair(lab: Lab) -> tuple[Machine, Machine]:
    """node1 and node2, booted."""
    first, second = (lab.start(NodeSpec(name)) for name in ("node1", "node2"))
    for machine in (first, second):
        machine.wait_ready()
        machine.system_state()
    return first, second


def node_info(machine: Machine) -> Json:
    return json.loads(machine.run("node-agent", "info", "--json"))


def identity(machine: Machine) -> dict[str, Any]:
    """All that must differ between two machines and stay the same on one."""
    info = node_info(machine)
    return {
        "node id": info["node_id"],
        "WireGuard key": info["wireguard_public_key"],
        "host name": machine.run("hostname"),
        "machine id": machine.read("/etc/machine-id"),
        "file system of /var": machine.run("findmnt", "--noheadings", "--output=UUID", "/var"),
        "partition of /var": machine.run("findmnt", "--noheadings", "--output=PARTUUID", "/var"),
        "product UUID": machine.read("/sys/class/dmi/id/product_uuid"),
    }


def test_a_node_boots_to_a_healthy_system(pair: tuple[Machine, Machine]) -> None:
    for machine in pair:
        assert machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""
        assert machine.system_state() == "running"


def test_info_tells_who_the_node_is(pair: tuple[Machine, Machine]) -> None:
    machine = pair[0]
    info = node_info(machine)
    assert machine.run("hostname") == info["hostname"] == f"n-{info['node_id'][:10].lower()}"
    assert info["machine_id"] == machine.read("/etc/machine-id")
    assert machine.spec.mac(machine.group) in {nic["mac"] for nic in info["facts"]["nics"]}
    assert machine.execute(["node-agent", "status"]).status == 4, "it waits for a credential"


def test_the_console_names_the_node(pair: tuple[Machine, Machine]) -> None:
    info = node_info(pair[0])
    for known in ("node_id", "fingerprint", "hostname"):
        pair[0].wait_console(info[known].replace("+", "[+]"), limit=60)


def test_two_machines_from_one_image_share_nothing_that_names_them(pair: tuple[Machine, Machine]) -> None:
    first, second = (identity(machine) for machine in pair)
    assert all(first.values())
    assert all(second.values())
    assert {what for what in first if first[what] == second[what]} == set()


def test_the_identity_is_readable_by_root_only(pair: tuple[Machine, Machine]) -> None:
    assert pair[0].run("stat", "--format=%a %U", "/var/lib/cluster-os/identity.json") == "600 root"


def test_the_nodes_reach_each_other_where_a_cluster_needs_it_and_nowhere_else(
    pair: tuple[Machine, Machine],
) -> None:
    first, second = pair
    serve = (
        "import socket, sys; s = socket.create_server(('', int(sys.argv[1]))); "
        "s.accept()[0].sendall(b'hello')"
    )
    ask = (
        "import socket, sys; "
        "print(socket.create_connection((sys.argv[1], int(sys.argv[2])), int(sys.argv[3])).recv(9))"
    )
    for port in (GOSSIP_PORT, OTHER_PORT):
        unit = ("systemd-run", f"--unit=hello-{port}", "--property=Type=exec")
        second.run(*unit, "python3", "-c", serve, str(port))
        listens = f"until ss -Hltn 'sport = {port}' | grep -q .; do sleep 0.1; done"
        second.run("sh", "-c", listens, limit=60)
    assert first.run("python3", "-c", ask, second.spec.address, str(GOSSIP_PORT), "30") == "b'hello'"
    refused = first.execute(["python3", "-c", ask, second.spec.address, str(OTHER_PORT), "5"])
    assert refused.status != 0
    assert b"TimeoutError" in refused.stderr
    for port in (GOSSIP_PORT, OTHER_PORT):
        second.execute(["systemctl", "stop", f"hello-{port}"])


def test_the_root_cannot_be_written(pair: tuple[Machine, Machine]) -> None:
    for path in ("/usr/bin/intruder", "/intruder", "/usr/lib/cluster-os/agent/intruder.py"):
        result = pair[0].execute(["touch", path])
        assert result.status != 0
        assert b"Read-only file system" in result.stderr
    result = pair[0].execute(["mount", "-o", "remount,rw", "/"])
    assert result.status != 0
    device = "/dev/mapper/root"
    assert pair[0].execute(["dd", "if=/dev/zero", f"of={device}", "bs=4096", "count=1"]).status != 0


def test_nothing_listens_that_is_not_expected(pair: tuple[Machine, Machine]) -> None:
    lines = pair[0].run("ss", "--no-header", "--listening", "--tcp", "--udp", "--numeric").splitlines()
    world = set()
    for line in lines:
        protocol, _state, _received, _sent, local, *_rest = line.split()
        address, port = local.rsplit(":", 1)
        if not address.startswith("127.") and address != "[::1]":
            world.add((protocol, int(port)))
    assert world - WORLD_LISTENERS == set()


def test_the_image_holds_no_secret_and_no_identity(pair: tuple[Machine, Machine]) -> None:
    script = """
        set -eu
        mkdir -p /run/image
        mount --bind / /run/image
        cd /run/image
        cut -d: -f1,2 etc/shadow | grep -v ':[!*]' || true
        test ! -s etc/machine-id || grep -vx uninitialized etc/machine-id || true
        find . -xdev \\( -name 'ssh_host_*_key' -o -name 'identity.json' -o -name '*.key' \
            -o -name random-seed -o -name credential.secret \\) -size +0
        find etc usr/lib/cluster-os -xdev -type f -exec grep -lE '^-+BEGIN [A-Z ]*PRIVATE KEY-+$' {} + || true
        cd /
        umount /run/image
    """
    assert pair[0].run("sh", "-c", script) == ""


def test_a_reboot_and_a_poweroff_keep_the_identity(lab: Lab, pair: tuple[Machine, Machine]) -> None:
    machine = pair[0]
    before = identity(machine)
    machine.reboot()
    assert identity(machine) == before
    assert machine.shutdown(), "the machine did not power off by itself"
    lab.start(machine.spec)
    machine.wait_ready()
    assert machine.system_state() == "running"
    assert identity(machine) == before
