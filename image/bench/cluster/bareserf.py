# SPDX-License-Identifier: Apache-2.0
"""Measure bare Serf: no agent, the nodes join each other by address, Serf's own list of members is polled.

The same program and the same configuration as on a node, LAN profile, encryption and tags included.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from nacl.utils import random

from agent import files
from agent.discovery.serf_config import GOSSIP_KEY_BYTES, SerfSettings, render
from agent.discovery.serf_rpc import SerfRpc
from agent.errors import ClusterError
from harness import processes
from harness.waiting import wait_for
from image.bench.cluster import samples
from image.bench.cluster.nodes import LIMIT, LOOK_AGAIN, SIZE
from image.toolstree import ToolsTree
from tests.cluster.inside import Inside
from tests.cluster.switch import SUBNET, Switch

T = TypeVar("T")
PORT, RPC_PORT = 7946, 7373


class Gossiper:
    """One Serf in a network of its own."""

    def __init__(self, number: int, switch: Switch, tools: ToolsTree, key: bytes) -> None:
        self.name = f"node{number}"
        self.address = f"{SUBNET}.{number}:{PORT}"
        self._number, self._switch, self._tools = number, switch, tools
        self._inside = Inside(number, switch)
        self._config = switch.group / f"{self.name}.json"
        settings = SerfSettings(
            name=self.name,
            bind_address="0.0.0.0",  # noqa: S104 - in a network of its own
            bind_port=PORT,
            advertise=f"{SUBNET}.{number}",
            rpc_port=RPC_PORT,
            rpc_auth="bench",
            gossip_key=key,
            tags={"p": "f"},
            log_level="warning",
        )
        files.replace(self._config, render(settings), mode=0o600)
        self._rpc = SerfRpc(settings.rpc_auth, lambda _event: None)

    def start(self) -> None:
        """Start Serf."""
        argv = ["serf", "agent", f"-config-file={self._config}"]
        with (self._switch.group / f"{self.name}.log").open("ab") as log:
            self._serf = subprocess.Popen(
                self._switch.command(self._number, self._tools.command(argv)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=processes.mark(self._switch.group, self.name),
            )

    def join(self, address: str | None) -> None:
        """Join the node at an address as soon as Serf answers; without one only wait for that."""

        def try_it() -> bool:
            try:
                if not self._rpc.connected:
                    self._inside.call(self._rpc.connect)
                if address is not None:
                    self._inside.call(self._rpc.join, [address])
            except ClusterError:
                return False
            return True

        wait_for(f"Serf of {self.name}", try_it, LIMIT, every=LOOK_AGAIN)

    def wait_sees(self, alive: set[str]) -> float:
        """Wait until it sees just these nodes alive; return when that was found."""

        def sees() -> bool:
            return {member.name for member in self._rpc.members() if member.alive} == alive

        wait_for(f"{self.name} to see {', '.join(sorted(alive))}", sees, LIMIT, every=2 * LOOK_AGAIN)
        return time.monotonic()

    def kill(self) -> None:
        """Kill Serf."""
        for process in processes.find(self._switch.group, self.name):
            process.signal(signal.SIGKILL)
        self._serf.wait()

    def end(self) -> None:
        """Let go of it."""
        self._rpc.close()
        self._inside.end()


def measure(group: Path, tools: ToolsTree) -> dict[str, float]:
    """Start SIZE nodes, add one, kill it; return the seconds until all others had seen each."""
    switch, key = Switch(group), random(GOSSIP_KEY_BYTES)
    nodes: list[Gossiper] = []
    try:
        nodes += [Gossiper(number, switch, tools, key) for number in range(1, SIZE + 2)]
        first, spare, five = nodes[0], nodes[-1], nodes[:-1]
        five_names, all_names = {node.name for node in five}, {node.name for node in nodes}

        def converge(joining: Sequence[Gossiper], seeing: Sequence[Gossiper], alive: set[str]) -> float:
            for node in joining:
                began = time.monotonic()
                node.start()
            _together(lambda node: node.join(None if node is first else first.address), joining)
            return max(_together(lambda node: node.wait_sees(alive), seeing)) - began

        taken = {
            samples.SERF_FORMED: converge(five, five, five_names),
            samples.SERF_JOINED: converge([spare], nodes, all_names),
        }
        began = time.monotonic()
        spare.kill()
        taken[samples.SEEN_BY_SERF] = max(_together(lambda node: node.wait_sees(five_names), five)) - began
    finally:
        for node in nodes:
            node.end()
        processes.end_all(group, grace=0)
    return taken


def _together(do: Callable[[Gossiper], T], nodes: Sequence[Gossiper]) -> list[T]:
    with ThreadPoolExecutor(len(nodes)) as pool:
        return list(pool.map(do, nodes))
