# SPDX-License-Identifier: Apache-2.0
"""A machine as QEMU arguments: what is secret stays out, and what is special is escaped."""

import itertools
import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import ClusterError
from harness.acceleration import Acceleration
from harness.arguments import credential_strings, network_unit, qemu
from harness.model import Firmware, NodePaths, NodeSpec

TCG = Acceleration("tcg", "for a test")
PATHS = NodePaths(Path("/state/a,b/node1"), Path("/run/x,y"), "node1")


def argv(spec: NodeSpec, *, tap: str | None = "node1", smbios: tuple[Path, ...] = ()) -> list[str]:
    return qemu(spec, PATHS, group="test", acceleration=TCG, tap=tap, clock="utc", smbios=smbios)


def values(arguments: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(arguments) if name == option]


def test_credentials_are_named_by_file_and_never_spelt_out() -> None:
    strings = credential_strings({"cluster-os.join": b"top secret"})
    assert list(strings.values()) == [
        f"io.systemd.credential.binary:cluster-os.join={b64encode(b'top secret').decode()}"
    ]
    arguments = argv(NodeSpec("node1"), smbios=(Path("/state/00-cluster-os.join"),))
    assert values(arguments, "-smbios") == ["type=11,path=/state/00-cluster-os.join"]
    assert b64encode(b"top secret").decode() not in " ".join(arguments)


def test_commas_in_paths_are_doubled_where_qemu_splits_at_commas() -> None:
    arguments = argv(replace(NodeSpec("node1"), tpm=True))
    for value in values(arguments, "-chardev"):
        assert ",," in value
        assert "a,b" not in value.replace(",,", "")
    disks = {node["node-name"]: node for node in map(json.loads, values(arguments, "-blockdev"))}
    assert disks["disk"]["file"]["filename"] == "/state/a,b/node1/disk.qcow2"


def test_the_firmware_code_is_read_only_and_the_variables_are_the_nodes_own() -> None:
    disks = {
        node["node-name"]: node for node in map(json.loads, values(argv(NodeSpec("node1")), "-blockdev"))
    }
    assert disks["code"]["read-only"]
    assert not disks["variables"]["read-only"]
    assert disks["variables"]["file"]["filename"] == str(PATHS.variables)


def test_secure_boot_protects_its_variables_by_smm() -> None:
    plain = argv(NodeSpec("node1"))
    secure = argv(NodeSpec("node1", firmware=Firmware(True, Path("/c"))))
    assert "smm=off" in values(plain, "-machine")[0]
    assert "secboot" not in " ".join(plain)
    assert "smm=on" in values(secure, "-machine")[0]
    assert "secboot" in " ".join(secure)
    assert "driver=cfi.pflash01,property=secure,value=on" in secure


def test_without_a_tap_the_network_is_the_relay() -> None:
    assert json.loads(values(argv(NodeSpec("node1")), "-netdev")[0])["type"] == "tap"
    relay = json.loads(values(argv(NodeSpec("node1"), tap=None), "-netdev")[0])
    assert relay["addr"]["path"] == str(PATHS.socket("net"))


def test_the_mac_is_the_nodes_own_and_always_the_same() -> None:
    first, second = NodeSpec("node1"), NodeSpec("node2")
    assert first.mac("a") == NodeSpec("node1").mac("a")
    assert len({first.mac("a"), second.mac("a"), first.mac("b")}) == 3
    assert first.mac("a").startswith("52:54:00:")
    assert f"MACAddress={first.mac('a')}".encode() in network_unit(first, "a")


def test_two_machines_never_get_one_uuid() -> None:
    assert NodeSpec("node1").uuid != NodeSpec("node1").uuid


@pytest.mark.parametrize(
    "spec", [NodeSpec("node7"), NodeSpec("node1", tpm=True, firmware=Firmware(True, Path("/c")))]
)
def test_a_machine_is_read_as_it_was_written(spec: NodeSpec) -> None:
    assert NodeSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("name", ["", "node0", "node01", "node1000", "../node1", "Node1", "node1\n"])
def test_other_names_than_node_and_number_are_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="not a node name"):
        NodeSpec(name)
