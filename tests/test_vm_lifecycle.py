# SPDX-License-Identifier: Apache-2.0
"""`vm up` and `vm down` with machines that have nothing to boot: what is started ends, whatever happened."""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import ClusterError
from harness import acceleration, cli, companions, processes
from harness.group import Group, need_memory
from harness.model import JOIN_CREDENTIAL, NodeSpec, VmContext
from harness.waiting import wait_for
from image.toolstree import ToolsTree

START_LIMIT = 20.0
"""Seconds for `vm up` to start the processes of its machines."""
_UP = """
import sys
from pathlib import Path
from image.toolstree import ToolsTree
from harness.model import VmContext
from harness import cli
import argparse
parser = argparse.ArgumentParser()
cli.register(parser.add_subparsers())
root, sandbox, images, state = map(Path, sys.argv[1:5])
cli.run(parser.parse_args(sys.argv[5:]), VmContext(ToolsTree(root, sandbox), images, state))
"""


@pytest.fixture
def context(tools: ToolsTree, tmp_path: Path) -> Iterator[VmContext]:
    images = tmp_path / "out/vm"
    images.mkdir(parents=True)
    with (images / "empty.raw").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(512)
        file.write(b"EFI PART")
    context = VmContext(tools, images, tmp_path / "machines")
    yield context
    run(context, "down", "--purge")


def run(context: VmContext, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli.register(parser.add_subparsers())
    return cli.run(parser.parse_args(["vm", *arguments]), context)


def start_in_background(context: VmContext, *arguments: str) -> "subprocess.Popen[bytes]":
    tools = context.tools
    paths = map(str, (tools.root, tools.sandbox, context.images, context.state))
    python_path = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", _UP, *paths, "vm", *arguments],
        env={**os.environ, "PYTHONPATH": python_path},
        stderr=subprocess.DEVNULL,
    )


def group_of(context: VmContext) -> Group:
    return Group(context.tools, context.state, cli.DEFAULT_GROUP)


def test_kill_9_of_vm_up_leaves_nothing_that_down_does_not_end(
    context: VmContext, capsys: pytest.CaptureFixture[str]
) -> None:
    up = start_in_background(context, "up", "--nodes", "2", "--memory", "128")
    folder = context.state / cli.DEFAULT_GROUP
    wait_for("node2 to be started", lambda: processes.find(folder, "node2.qemu"), START_LIMIT)
    up.kill()
    assert up.wait() == -signal.SIGKILL
    assert run(context, "list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["state"]) for row in rows] == [("node1", "booting"), ("node2", "booting")]
    namespace = str(Path(f"/proc/{rows[0]['pid']}/ns/net").readlink())
    sockets = group_of(context).machine("node1").paths.sockets
    assert namespace != str(Path("/proc/self/ns/net").readlink())
    assert sockets.exists()

    assert run(context, "down", "--purge") == 0
    assert processes.find(folder) == []
    assert namespace not in network_namespaces()
    assert not sockets.exists()
    assert list(context.state.iterdir()) == []


def test_a_killed_holder_is_replaced_inside_the_same_network(context: VmContext) -> None:
    group = group_of(context)
    image = context.images / "empty.raw"
    with group.locked():
        group.create(image)
        first = group.start(group.add(NodeSpec("node1", memory=128)))
        (holder,) = processes.find(group.folder, "holder")
        holder.end(grace=0)
        second = group.start(group.add(NodeSpec("node2", memory=128)))
    assert first.process is not None
    assert second.process is not None
    networks = {str(Path(f"/proc/{p.pid}/ns/net").readlink()) for p in processes.find(group.folder)}
    assert len(networks) == 1
    assert len(processes.find(group.folder, "holder")) == 1


def test_a_node_keeps_its_machine_when_it_is_switched_off_and_on(context: VmContext) -> None:
    group = group_of(context)
    group.create(context.images / "empty.raw")
    machine = group.start(group.add(NodeSpec("node1", memory=128)))
    first = machine.process
    assert group.start(machine).process == first, "what runs is left running"
    group.down()
    assert machine.state == "off"
    again = group_of(context).add(NodeSpec("node1", memory=256))
    assert again.spec == machine.spec
    assert again.paths.disk.stat().st_size < 1 << 20, "the overlay is not a copy"
    assert again.paths.disk.exists()


def test_a_console_says_what_the_firmware_says_and_its_log_is_kept(context: VmContext) -> None:
    group = group_of(context)
    group.create(context.images / "empty.raw")
    machine = group.start(group.add(NodeSpec("node1", memory=128)))
    machine.wait_console("BdsDxe", START_LIMIT)
    group.down()
    assert "BdsDxe" in machine.console_text(whole=True)


def test_waiting_for_a_machine_that_ends_fails_at_once(context: VmContext) -> None:
    group = group_of(context)
    group.create(context.images / "empty.raw")
    machine = group.start(group.add(NodeSpec("node1", memory=128)))
    machine.power_cut()
    with pytest.raises(ClusterError, match="has ended"):
        machine.wait_ready()
    with pytest.raises(ClusterError):
        machine.attest()


def test_qemus_own_words_tell_why_a_machine_does_not_start(context: VmContext) -> None:
    group = group_of(context)
    group.create(context.images / "empty.raw")
    machine = group.add(NodeSpec("node1", memory=128))
    machine.paths.disk.write_bytes(b"not a disk")
    with pytest.raises(ClusterError, match=r"node1 does not start: .*qcow2"):
        group.start(machine)
    assert machine.process is None


def test_a_firmware_that_trusts_nobody_is_not_made(context: VmContext) -> None:
    group = group_of(context)
    group.create(context.images / "empty.raw")
    spec = NodeSpec("node1")
    with pytest.raises(ClusterError, match="no Secure Boot certificate"):
        group.add(replace(spec, firmware=replace(spec.firmware, secure_boot=True)))
    assert group.machines() == []


def test_without_an_image_the_hint_is_the_command_that_makes_it(context: VmContext) -> None:
    (context.images / "empty.raw").unlink()
    with pytest.raises(ClusterError, match="no image") as caught:
        run(context, "up")
    assert caught.value.hint == "run ./build.py --profile vm"


def test_a_program_beside_the_machines_finds_its_modules_by_itself_and_says_why_it_fails(
    context: VmContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As under ./build.py, which names no folder of the harness.
    folders = os.environ["PYTHONPATH"].split(os.pathsep)
    others = [folder for folder in folders if not Path(folder, "harness").exists()]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(others))
    group = group_of(context)
    group.namespace.open()
    companions.start_balancer(group.namespace, group.folder, 8443, ["10.77.0.11"])
    with pytest.raises(ClusterError, match=r"port 8443 .* cannot be used: .*address already in use"):
        companions.start_balancer(group.namespace, group.folder, 8443, ["10.77.0.11"])


def test_more_memory_than_there_is_is_refused_before_anything_starts(context: VmContext) -> None:
    with pytest.raises(ClusterError, match=r"3 VMs need .* MiB of memory, .* MiB are available"):
        run(context, "up", "--nodes", "3", "--memory", "900000")
    assert group_of(context).machines() == []


def test_memory_is_counted_with_what_qemu_takes_itself(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 9999999 kB\nMemAvailable: {1224 * 1024} kB\n")
    need_memory([NodeSpec("node1", memory=1024)], meminfo)
    with pytest.raises(ClusterError, match="needs 1225 MiB"):
        need_memory([NodeSpec("node1", memory=1025)], meminfo)


def test_a_second_command_on_one_group_is_refused(context: VmContext) -> None:
    with (
        group_of(context).locked(),
        pytest.raises(ClusterError, match="another command"),
        group_of(context).locked(),
    ):
        pass


def test_a_damaged_record_is_named_and_down_still_ends_everything(context: VmContext) -> None:
    group = group_of(context)
    group.create(context.images / "empty.raw")
    machine = group.start(group.add(NodeSpec("node1", memory=128)))
    machine.paths.spec.write_text("{")
    with pytest.raises(ClusterError, match=r"node\.json is damaged"):
        run(context, "list")
    run(context, "down", "--purge")
    assert processes.find(group.folder) == []


def test_a_node_is_found_in_whatever_group_has_it(context: VmContext) -> None:
    groups = [Group(context.tools, context.state, name) for name in ("lab", "other")]
    for group, name in zip(groups, ("node1", "node2"), strict=True):
        group.create(context.images / "empty.raw")
        group.add(NodeSpec(name, memory=128))
    with pytest.raises(ClusterError, match="node2 is off") as found:
        run(context, "exec", "node2", "--", "true")
    assert found.value.hint == "./build.py vm up --cluster other"
    groups[1].add(NodeSpec("node1", memory=128))
    with pytest.raises(ClusterError, match="there is a node1 in each of lab, other") as found:
        run(context, "exec", "node1", "--", "true")
    assert found.value.hint == "say which one is meant: --cluster lab"
    # One that is on is meant, not one that is off.
    groups[1].start(groups[1].machine("node1"))
    assert run(context, "logs", "node1") == 0


@pytest.mark.parametrize("command", ["exec node1 true", "console node1", "logs node1"])
def test_commands_for_a_node_that_is_not_there_say_which_are(context: VmContext, command: str) -> None:
    with pytest.raises(ClusterError, match="no node 'node1'"):
        run(context, *command.split())


@pytest.mark.parametrize("name", ["", "../x", "A", "-a", "a" * 33])
def test_a_group_name_that_is_no_folder_name_is_refused(context: VmContext, name: str) -> None:
    with pytest.raises(ClusterError, match="not a name"):
        Group(context.tools, context.state, name)


def test_the_probe_guest_runs_where_guests_run(tools: ToolsTree) -> None:
    # TCG runs guests everywhere, so a probe that fails there would never find KVM either.
    assert acceleration.probe(tools, "tcg") is None
    found = acceleration.detect(tools)
    assert found.name in ("kvm", "tcg")
    assert found.reason


def test_sockets_fit_into_the_longest_path_that_the_kernel_takes(context: VmContext) -> None:
    deep = Group(context.tools, context.state / ("d" * 200), "x" * 32)
    assert len(os.fsencode(deep.paths("node999").socket("console"))) <= 107


def network_namespaces() -> set[str]:
    """Network namespaces of all processes that live (a zombie has none to tell)."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "environ").read_bytes():
                found.add(str((entry / "ns/net").readlink()))
        except OSError:
            continue
    return found


def test_emulated_machines_of_a_cluster_get_leases_that_they_can_keep() -> None:
    assert cli.make_boot(b"credential", "kvm").credentials == {JOIN_CREDENTIAL: b"credential"}
    drop_in = cli.make_boot(b"credential", "tcg").credentials["systemd.unit-dropin.clusteros-agent.service"]
    assert drop_in == b"[Service]\nEnvironment=CLUSTEROS_ELECTION_LEASE=20\n"
    assert cli.make_boot(None, "tcg").credentials == {}
