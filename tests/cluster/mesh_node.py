# SPDX-License-Identifier: Apache-2.0
"""Machines that run nothing but WireGuard, each in a network namespace, and our mesh on top of it."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from agent.cluster import Member, MeshPeer, Peer
from agent.identity import identity_of_seed, wireguard_private_key
from agent.membership.addresses import assign_ipv4, mesh_ipv6
from agent.mesh.interface import Kept, Mesh, MeshSettings, open_mesh
from agent.mesh.link_plan import LinkSettings
from agent.mesh.plan import Change, MeshNetwork, diff, wanted_peers, wireguard_key
from agent.mesh.sessions import Session, follow_sessions
from agent.mesh.userspace import UserspaceDevice
from harness import processes
from harness.waiting import wait_for
from image.toolstree import ToolsTree
from tests.cluster.inside import Inside
from tests.cluster.switch import SUBNET, Switch

P = ParamSpec("P")
T = TypeVar("T")
NETWORK = MeshNetwork("abcdefghijklmnopqrstuvwxyz", "10.77.0.0/16")
PORT = 51820
START_LIMIT = 20.0
"""Seconds that the program may take to open its socket; it takes less than one."""
REACH_LIMIT = 20.0
"""Seconds in which a packet gets through; WireGuard repeats a lost handshake after five."""
_SEEDS = {number: bytes([number]) * 32 for number in range(1, 10)}
_IPV4 = assign_ipv4(NETWORK.ipv4_range, (identity_of_seed(seed).node_id for seed in _SEEDS.values()))


def wireguard_program(tools: ToolsTree) -> str:
    """Return the program of the tools tree that stands in for the kernel's WireGuard."""
    program = tools.root / "usr/bin/wireguard-go"
    assert program.exists(), "no wireguard-go in the tools tree: run the tests by ./build.py test"
    return program.name


def member(number: int) -> Member:
    node_id = identity_of_seed(_SEEDS[number]).node_id
    return Member(node_id, f"{number:012x}", _IPV4[node_id], None, number)


class MeshNode:
    """One machine, its address 10.55.0.NUMBER, with a WireGuard program."""

    def __init__(self, number: int, folder: Path, switch: Switch, tools: ToolsTree) -> None:
        self.number = number
        self.member = member(number)
        self.node_id = self.member.node_id
        self.key = wireguard_key(self.node_id)
        self.ipv4 = self.member.ipv4
        self.ipv6 = str(mesh_ipv6(NETWORK.cluster_id, self.node_id))
        # The sockets of all programs are in one folder here, so each needs a name of its own.
        self.link = f"mesh{os.getpid() % 100000}n{number}"
        self.settings = MeshSettings(
            wireguard_private_key(_SEEDS[number]),
            PORT,
            LinkSettings(self.ipv4, NETWORK.ipv4_range, self.ipv6, NETWORK.ranges[1], 1420),
        )
        self.sessions: dict[str, Session] = {}
        self.lead = 0.0  # seconds that its monotonic clock is ahead
        self._folder, self._switch, self._tools = folder, switch, tools
        self._program: subprocess.Popen[bytes] | None = None
        self._inside = Inside(number, switch)
        self.start()
        self.mesh: Mesh = self.call(open_mesh, self.link)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` on the machine and return what it returns."""
        return self._inside.call(function, *args, **kwargs)

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the tools tree on the machine."""
        command = self._switch.command(self.number, self._tools.command(argv))
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def start(self) -> None:
        """Start the WireGuard program and wait until it answers."""
        argv = self._tools.command([wireguard_program(self._tools), "-f", self.link])
        with (self._folder / f"wireguard{self.number}.log").open("ab") as log:
            program = subprocess.Popen(
                self._switch.command(self.number, argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=processes.mark(self._switch.group, f"node{self.number}.wireguard"),
            )
        self._program = program

        def answers() -> bool:
            assert program.poll() is None, (self._folder / f"wireguard{self.number}.log").read_text()
            return UserspaceDevice(self.link).answers

        wait_for(f"the WireGuard program of node {self.number}", answers, START_LIMIT)

    def kill(self) -> None:
        """Kill the WireGuard program."""
        assert self._program is not None
        self._program.kill()
        self.wait_ended()

    def wait_ended(self) -> None:
        """Wait until the program has ended, and its link with it."""
        assert self._program is not None
        self._program.wait(10)

    def gossip(self, address: str = "", *further: str) -> Peer:
        """Return what gossip says of this machine: the truth, or that it is at `address`."""
        return Peer(
            name=f"{self.node_id}.{self.member.hardware}",
            node_id=self.node_id,
            hardware=self.member.hardware,
            address=address or f"{SUBNET}.{self.number}",
            alive=True,
            phase="m",
            genesis=None,
            wireguard_port=PORT,
            addresses=further,
            voter=False,
            seen=0.0,
        )

    def keep(self) -> Kept:
        return self.call(self.mesh.keep, self.settings)

    def observe(self) -> dict[str, MeshPeer]:
        return self.call(self.mesh.observe)

    def hold(self, *roles: str) -> None:
        """Hold the roles with these addresses from the next tick on, and no other."""
        self.settings = replace(self.settings, link=replace(self.settings.link, roles=roles))

    def tick(
        self,
        nodes: Iterable["MeshNode"],
        gossip: Iterable[Peer] | None = None,
        roles: Mapping[str, Sequence[str]] | None = None,
    ) -> tuple[Change, ...]:
        """Do what the agent does at a tick when `nodes` are the members; return the changes of peers."""
        nodes = list(nodes)
        now = time.monotonic() + self.lead
        self.keep()
        observed = self.observe()
        self.sessions = follow_sessions(self.sessions, observed, now, time.time())
        wanted = wanted_peers(
            NETWORK,
            [node.member for node in nodes],
            [node.gossip() for node in nodes] if gossip is None else gossip,
            self.node_id,
            observed=observed,
            sessions=self.sessions,
            now=now,
            roles=roles,
        )
        changes = diff(observed, wanted)
        self.call(self.mesh.apply, changes)
        return changes

    def reaches(self, address: str) -> bool:
        """Whether an answer to a ping comes from `address` within a second."""
        return self.run("ping", "-n", "-q", "-c", "1", "-W", "1", address, check=False).returncode == 0

    def wait_reaches(self, address: str) -> None:
        wait_for(f"a ping of node {self.number} to {address}", lambda: self.reaches(address), REACH_LIMIT)

    def end(self) -> None:
        self.call(self.mesh.close)
        self._inside.end()
