# SPDX-License-Identifier: Apache-2.0
"""A switch for machines in network namespaces: bridges in a namespace of its own, and one cable a machine.

Nothing is written under /run/netns: a namespace lives as long as the process that holds it.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness import processes

SUBNET = "10.55.0"
LATENCY = Path(__file__).with_name("latency.py")


class Switch:
    """Bridges `br0` (all machines) and more where the network is split. `group` marks all processes."""

    _numbers = itertools.count()

    def __init__(self, group: Path) -> None:
        self.group = group
        self.number = next(self._numbers)  # of this process
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._slow: dict[int, subprocess.Popen[bytes]] = {}
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
        self.speed_up(number)
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
                self._ip("link", "set", self._port(number), "master", bridge)

    def cut(self, number: int) -> None:
        """Pull the cable of one machine; its own interface keeps its carrier, as behind a dead switch."""
        self._ip("link", "set", self._port(number), "nomaster")

    def heal(self) -> None:
        """Put every machine on one network again; slow cables stay slow."""
        for name in self._holders:
            if name != "switch":
                self._ip("link", "set", self._port(int(name.removeprefix("node"))), "master", "br0")
        for index in range(1, 10):
            self._ip("link", "delete", f"br{index}", check=False)

    def slow_down(self, number: int, seconds: float) -> None:
        """Let what machine `number`, plugged into `br0`, sends from now on be under way for `seconds`."""
        self.speed_up(number)
        name, tap = f"node{number}", f"slow{number}"
        self._ip("link", "set", name, "nomaster")
        argv = ["nsenter", "--target", str(self._holders["switch"].pid), "--net", "--"]
        argv += [sys.executable, str(LATENCY), name, tap, str(seconds)]
        self._slow[number] = self._begin(f"{name}.cable", argv, "no tap device: run the tests as root")
        self._ip("link", "set", tap, "master", "br0", "up")

    def speed_up(self, number: int) -> None:
        """Make the cable of machine `number` short again; what is under way is lost."""
        cable = self._slow.pop(number, None)
        if cable is not None:
            cable.kill()
            cable.wait(10)
            self._ip("link", "set", f"node{number}", "master", "br0")

    def _port(self, number: int) -> str:
        """The device of the switch behind which machine `number` is."""
        return f"slow{number}" if number in self._slow else f"node{number}"

    def _hold(self, name: str) -> None:
        argv = ["unshare", "--net", "--", "sh", "-c", "echo ready; exec sleep infinity"]
        self._holders[name] = self._begin(
            f"{name}.holder", argv, "no network namespace: run the tests as root"
        )

    def _begin(self, role: str, argv: Sequence[str], trouble: str) -> subprocess.Popen[bytes]:
        """Start what says that it is `ready`, and runs until it is killed."""
        begun = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=processes.mark(self.group, role)
        )
        assert begun.stdout is not None
        assert begun.stdout.readline() == b"ready\n", trouble
        return begun

    def _ip(self, *arguments: str, inside: str = "switch", check: bool = True) -> None:
        done = subprocess.run(
            ["nsenter", "--target", str(self._holders[inside].pid), "--net", "--", "ip", *arguments],
            capture_output=True,
            check=False,
            env=os.environ,
        )
        assert not check or done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.decode()}"
