# SPDX-License-Identifier: Apache-2.0
"""A group of machines on one network, and the folder that it lives in."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import ClusterError
from harness import disks, processes
from harness.acceleration import Acceleration, detect
from harness.companions import KILL_LIMIT
from harness.machine import Machine
from harness.model import GROUP_NAME, Boot, NodePaths, NodeSpec
from harness.namespace import Namespace
from image.toolstree import ToolsTree

OVERHEAD = 200
"""MiB that QEMU and its firmware take beside a guest's own memory."""

Say = Callable[[str], None]


class GroupBusyError(ClusterError):
    """Another process is changing the group."""


class Group:
    """The machines under `state/name`.

    Owns: that folder, and a folder of sockets whose path follows from it. Everything that runs for the group
    is found by its mark (`harness.processes`), so `down` needs no record of what was started.
    """

    def __init__(self, tools: ToolsTree, state: Path, name: str, *, say: Say = lambda line: None) -> None:
        if not GROUP_NAME.fullmatch(name):
            raise ClusterError(
                f"not a name for a group of VMs: {name!r}",
                hint="small letters, digits and hyphens, at most 32, a letter or digit at both ends",
            )
        self.folder = state.resolve() / name
        self.namespace = Namespace(self.folder)
        self._tools = tools
        self._say = say
        self._machines: dict[str, Machine] = {}
        self._acceleration: Acceleration | None = None
        # Short, and the same for every process of this user that works on this folder.
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        self._sockets = Path("/tmp", f"cvm-{os.geteuid()}-{digest}")

    @property
    def name(self) -> str:
        """Name of the group."""
        return self.folder.name

    @property
    def base(self) -> Path:
        """The image that all nodes of the group read from."""
        return self.folder / "base.raw"

    @property
    def acceleration(self) -> Acceleration:
        """KVM or TCG, tried out once and said."""
        if self._acceleration is None:
            self._acceleration = detect(self._tools)
            self._say(f"VMs run under {self._acceleration.name.upper()}: {self._acceleration.reason}")
        return self._acceleration

    def create(self, image: Path) -> None:
        """Make the group's folder with `image` as its base; a group that exists keeps its base."""
        disks.private_folder(self.folder)
        if not self.base.exists():
            disks.keep_base(image, self.base)
        elif self.base.stat().st_mtime != image.stat().st_mtime:
            self._say(
                f"the nodes of {self.name} stay on the image that they were made from; "
                "./build.py vm down --purge forgets them"
            )

    def machines(self) -> list[Machine]:
        """All machines of the group in order of their numbers."""
        specs = [self._read_spec(path) for path in self.folder.glob("node*/node.json")]
        return [self._machine(spec) for spec in sorted(specs, key=lambda spec: spec.number)]

    def machine(self, name: str) -> Machine:
        """The machine `name`; raises ClusterError with the names that there are."""
        machines = {machine.name: machine for machine in self.machines()}
        if name not in machines:
            there = ", ".join(machines) or "none"
            raise ClusterError(f"no node {name!r} in group {self.name}", hint=f"there are: {there}")
        return machines[name]

    def add(self, spec: NodeSpec) -> Machine:
        """Make the files of a new machine; one that exists stays as it is."""
        paths = self.paths(spec.name)
        if not paths.spec.exists():
            disks.private_folder(paths.state)
            disks.make_overlay(self._tools, self.base, spec, paths)
            disks.make_variables(self._tools, spec, paths)
            draft = paths.spec.with_suffix(".new")
            draft.write_text(spec.to_json())
            draft.rename(paths.spec)
        return self.machine(spec.name)

    def start(self, machine: Machine, boot: Boot | None = None) -> Machine:
        """Switch one machine on, after making sure that there is memory for it."""
        if machine.process is None:
            need_memory([machine.spec])
            disks.private_folder(self._sockets)
            self.namespace.open()
            machine.start(self.namespace, self.acceleration, boot)
        return machine

    def down(self, *, purge: bool = False, grace: float = 0.0) -> None:
        """Switch everything off and end every process of the group, whoever started it.

        Machines get `grace` seconds each for an orderly shutdown, all at once. Disks stay unless `purge`.
        """
        running = [machine for machine in self._machines_left() if machine.process is not None]
        if grace:
            for machine in running:
                machine.ask_to_power_off()
        for machine in running:
            machine.finish(grace)
        # What is left belongs to nodes without a spec, or is a companion or the holder.
        processes.end_all(self.folder, grace=KILL_LIMIT)
        shutil.rmtree(self._sockets, ignore_errors=True)
        if purge and self.folder.exists():
            shutil.rmtree(self.folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one command at a time change the group; raises ClusterError when another one does."""
        disks.private_folder(self.folder.parent)
        path = self.folder.parent / f".{self.name}.lock"
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise GroupBusyError(
                    f"another command is changing the VMs of {self.name}", hint="wait until it has ended"
                ) from None
            try:
                yield
            finally:
                if not self.folder.exists():
                    path.unlink(missing_ok=True)

    def _machines_left(self) -> list[Machine]:
        try:
            return self.machines()
        except ClusterError:  # a damaged node.json must not keep anything from being ended
            return list(self._machines.values())

    def _machine(self, spec: NodeSpec) -> Machine:
        if spec.name not in self._machines:
            self._machines[spec.name] = Machine(self._tools, self.folder, self.paths(spec.name), spec)
        return self._machines[spec.name]

    def paths(self, name: str) -> NodePaths:
        """Where the files of node `name` are."""
        return NodePaths(self.folder / name, self._sockets, name)

    @staticmethod
    def _read_spec(path: Path) -> NodeSpec:
        try:
            return NodeSpec.from_json(path.read_text())
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(
                f"{path} is damaged: {error}", hint="./build.py vm down --purge forgets it"
            ) from None


def groups(state: Path) -> list[str]:
    """Names of the groups under a state folder."""
    return sorted(path.name for path in state.glob("*") if GROUP_NAME.fullmatch(path.name) and path.is_dir())


def need_memory(specs: list[NodeSpec], meminfo: Path = Path("/proc/meminfo")) -> None:
    """Raise ClusterError unless memory for all these machines is available now."""
    values = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    available = int(values["MemAvailable"].split()[0]) // 1024
    needed = sum(spec.memory + OVERHEAD for spec in specs)
    if needed > available:
        count = f"{len(specs)} VMs need" if len(specs) > 1 else "the VM needs"
        raise ClusterError(
            f"{count} {needed} MiB of memory, {available} MiB are available",
            hint="fewer nodes (--nodes), or less for each (--memory)",
        )
