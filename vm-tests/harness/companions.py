# SPDX-License-Identifier: Apache-2.0
"""The processes that serve one VM: its QEMU, and beside it a software TPM and a relay where needed."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agent.errors import ClusterError
from harness import disks, processes
from harness.model import NodePaths
from harness.namespace import Namespace, python, python_env
from image.toolstree import ToolsTree

KILL_LIMIT = 10.0
"""Seconds for a process to end after it was told to."""


def start_qemu(group: Path, paths: NodePaths, command: list[str]) -> None:
    """Start QEMU by a command that goes to the background when the VM runs; raises with QEMU's own words."""
    _launch(group, paths, "qemu", command)


def start_tpm(tools: ToolsTree, group: Path, paths: NodePaths) -> None:
    """Start a TPM 2.0 on socket `tpm`; it ends by itself when QEMU closes the connection."""
    disks.private_folder(paths.tpm)
    argv = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={paths.tpm}", "--terminate", "--daemon"]
    _launch(group, paths, "tpm", tools.command([*argv, "--ctrl", f"type=unixio,path={paths.socket('tpm')}"]))


def start_relay(namespace: Namespace, group: Path, paths: NodePaths) -> None:
    """Start the relay between socket `net` and the VM's port of the bridge."""
    command = python("harness.relay", str(paths.socket("net")), f"{paths.name}-vm")
    if error := _start(namespace, group, f"{paths.name}.relay", command):
        raise ClusterError(f"{paths.name} cannot be connected to the VM network: {error}")


def start_balancer(namespace: Namespace, group: Path, port: int, addresses: Sequence[str]) -> None:
    """Start what leads from `port` of the network's own address to whichever of `addresses` has it."""
    if error := _start(namespace, group, "balancer", python("harness.balance", str(port), *addresses)):
        raise ClusterError(f"port {port} of the VM network cannot be used: {error}")


def end(group: Path, paths: NodePaths) -> None:
    """End what only serves a running QEMU, and remove the sockets."""
    for role in ("relay", "tpm"):
        for process in processes.find(group, f"{paths.name}.{role}"):
            process.end(grace=KILL_LIMIT)
    for socket in paths.sockets.glob(f"{paths.name}.*"):
        socket.unlink(missing_ok=True)


def _start(namespace: Namespace, group: Path, role: str, command: list[str]) -> str:
    """Start one of our programs inside the network; return why it does not work, empty if it says it does."""
    # Not a pipe: nobody reads there once it works.
    with tempfile.TemporaryFile() as complaints:
        started = subprocess.Popen(
            namespace.command(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
            env=processes.mark(group, role) | python_env(),
        )
        assert started.stdout is not None
        with started.stdout:
            if started.stdout.readline() == b"ready\n":
                return ""
        status = started.wait()
        complaints.seek(0)
        lines = complaints.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {status}"


def _launch(group: Path, paths: NodePaths, role: str, command: list[str]) -> None:
    """Run a program that goes to the background by itself once it works."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        env=processes.mark(group, f"{paths.name}.{role}"),
    )
    if done.returncode:
        end(group, paths)
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ClusterError(f"{paths.name} does not start: {lines[-1].removeprefix('qemu-system-x86_64: ')}")
