# SPDX-License-Identifier: Apache-2.0
"""A switch for machines in network namespaces: bridges in a namespace of its own, and one cable a machine.

Nothing is written under /run/netns: a namespace lives as long as the process that holds it.
"""

import itertools
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness import processes

SUBNET = "10.55.0"


class Switch:
    """Bridges `br0` (all machines) and more where the network is split. `group` marks all processes."""

    _numbers = itertools.count()

    def __init__(self, group: Path) -> None:
        self.group = group
        self.number = next(self._numbers)  # of this process
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._hold("switch")
        self._ip("link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        self._ip("link", "set", "br0", "up")

    def plug(self, number: int) -> None:
        """Make the namespace of machine `number`, with the address .NUMBER on its eth0."""
        name = f"node{number}"
        self._hold(name)
        pid = str(self._holders[name].pid)
        self._ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", pid)
        self._ip("link", "set", name, "master", "br0", "up")
        for command in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{SUBNET}.{number}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("route", "add", "default", "via", f"{SUBNET}.254"),
        ):
            self._ip(*command, inside=name)

    def unplug(self, number: int) -> None:
        """Take machine `number` away with its namespace; nothing runs in it any more."""
        holder = self._holders.pop(f"node{number}")
        holder.kill()
        holder.wait(10)
        self._ip("link", "delete", f"node{number}", check=False)

    def command(self, number: int, argv: Sequence[str | Path]) -> list[str]:
        """Return the argument vector that runs `argv` on machine `number`."""
        return [
            "nsenter",
            "--target",
            str(self._holders[f"node{number}"].pid),
            "--net",
            "--",
            *map(str, argv),
        ]

    def split(self, *parts: Iterable[int]) -> None:
        """Let only machines of one part reach each other; machines that are named nowhere reach nobody."""
        for index, part in enumerate(parts, 1):
            bridge = f"br{index}"
            self._ip("link", "add", bridge, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
            self._ip("link", "set", bridge, "up")
            for number in part:
                self._ip("link", "set", f"node{number}", "master", bridge)

    def cut(self, number: int) -> None:
        """Pull the cable of one machine; its own interface keeps its carrier, as behind a dead switch."""
        self._ip("link", "set", f"node{number}", "nomaster")

    def heal(self) -> None:
        """Put every machine on one network again."""
        for name in self._holders:
            if name != "switch":
                self._ip("link", "set", name, "master", "br0")
        for index in range(1, 10):
            self._ip("link", "delete", f"br{index}", check=False)

    def _hold(self, name: str) -> None:
        holder = subprocess.Popen(
            ["unshare", "--net", "--", "sh", "-c", "echo ready; exec sleep infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=processes.mark(self.group, f"{name}.holder"),
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n", "no network namespace: run the tests as root"
        self._holders[name] = holder

    def _ip(self, *arguments: str, inside: str = "switch", check: bool = True) -> None:
        done = subprocess.run(
            ["nsenter", "--target", str(self._holders[inside].pid), "--net", "--", "ip", *arguments],
            capture_output=True,
            check=False,
            env=os.environ,
        )
        assert not check or done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.decode()}"
