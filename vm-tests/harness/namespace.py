# SPDX-License-Identifier: Apache-2.0
"""The network namespace of a VM group: a holder process keeps it, and it ends with the last process in it.

Nothing is written under /run/netns, so there is no name to leave behind: when holder and VMs have ended,
however they ended, the kernel takes bridge, taps and namespace with them.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.errors import ClusterError
from harness import processes

_PACKAGES = [Path(__file__).parents[1], Path(__file__).parents[2]]
# `ready` is written when the namespaces exist and the ids are mapped, as unshare starts its program after
# that. From then on it is one and the same program: while a process turns into another one, its environment,
# and with it our mark, cannot be read.
_HOLDER = [sys.executable, "-IS", "-c", "import signal; print('ready', flush=True); signal.pause()"]


class Namespace:
    """The network namespace of the group at state folder `group`."""

    def __init__(self, group: Path) -> None:
        self._group = group

    @property
    def member(self) -> processes.Process | None:
        """A process inside the namespace: the holder, or a VM that outlived it; None when there is none."""
        inside = [p for p in processes.find(self._group) if p.role == "holder" or p.role.endswith(".qemu")]
        return min(inside, key=lambda process: process.role != "holder", default=None)

    def open(self) -> None:
        """Make sure that the namespace, its holder and its bridge are there."""
        member = self.member
        if member is None:
            self._start_holder()
        elif member.role != "holder" and (error := self._hold(self.command([]))):
            # Somebody killed the holder. The new one joins the running VMs, as they must stay on one network.
            raise ClusterError(f"the VM network cannot be entered: {error}", hint="./build.py vm down")
        # Also when there was a holder: who started it may have been killed before the bridge was there.
        self.run_python("harness.bridge", "make")

    def add_port(self, name: str) -> str | None:
        """Give VM `name` a port of the bridge; return its tap device, None where only the relay can work.

        A tap needs /dev/net/tun, which some machines give to root alone.
        """
        return self.run_python("harness.bridge", "port", name).strip() or None

    def command(self, argv: Sequence[str | Path]) -> list[str]:
        """Return the argument vector that runs `argv` in the namespace, with the rights to configure it."""
        member = self.member
        if member is None:
            raise ClusterError("the VM network does not exist", hint="it is made by ./build.py vm up")
        enter = ["nsenter", "--target", str(member.pid), "--net"]
        if not Path("/proc/self/ns/user").samefile(f"/proc/{member.pid}/ns/user"):
            enter += ["--user", "--preserve-credentials"]
        return [*enter, "--", *map(str, argv)]

    def run_python(self, module: str, *arguments: str) -> str:
        """Run one of our modules in the namespace and return what it printed; raises ClusterError."""
        command = self.command(python(module, *arguments))
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True, env=python_env()
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise ClusterError(f"the VM network cannot be made: {lines[-1] if lines else done.returncode}")
        return done.stdout

    def _start_holder(self) -> None:
        error = ""
        for flags in (["--net"], ["--user", "--map-root-user", "--net"]):
            error = self._hold(["unshare", *flags, "--"])
            if not error:
                return
        raise ClusterError(
            f"no network namespace: {error}",
            hint="run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)",
        )

    def _hold(self, enter: list[str]) -> str:
        """Start the holder by a command that enters a namespace; return what went wrong, empty if nothing."""
        holder = subprocess.Popen(
            [*enter, *_HOLDER],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=processes.mark(self._group, "holder"),
        )
        assert holder.stdout is not None
        assert holder.stderr is not None
        with holder.stdout, holder.stderr:
            if holder.stdout.readline() == b"ready\n":
                return ""
            error = holder.stderr.read().decode(errors="replace").strip()
        return error or f"exit status {holder.wait()}"


def python(module: str, *arguments: str) -> list[str]:
    """Return the argument vector that runs one of our modules with this very Python."""
    return [sys.executable, "-m", module, *arguments]


def python_env() -> dict[str, str]:
    """Return the environment in which `python` finds our modules."""
    before = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, _PACKAGES), *([before] if before else [])]),
    }
