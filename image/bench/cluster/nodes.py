# SPDX-License-Identifier: Apache-2.0
"""Measure one cluster of real nodes: it forms, takes a member, loses and removes it, loses its leader.

Stamps are of this machine's CLOCK_MONOTONIC. What is done is stamped before it is done. Its effect is stamped
when a look finds it in what the agents publish, or in WireGuard's own list of peers; looks follow each other
after LOOK_AGAIN. So each time includes the way from the effect to the published document, and is too long by
LOOK_AGAIN at most, and by what a busy machine adds to it.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nacl.utils import random

from agent.control import client
from agent.control.runtime import Runtime
from agent.identity import identity_of_seed
from agent.mesh.plan import wireguard_key
from agent.mesh.userspace import UserspaceDevice
from agent.roles.candidates import COORDINATOR
from harness import processes
from harness.waiting import wait_for
from image.bench.cluster import samples
from image.bench.cluster.writes import find_first
from image.toolstree import ToolsTree
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import Machine, Machines

SIZE = 5
LOOK_AGAIN = 0.005
"""Seconds between two looks: the error of a stamp."""
LIMIT = 60.0
"""Seconds for anything here; all of it takes less than ten."""
SETTLED = 1.0
"""Seconds for which all has to be calm before the next thing is done to the cluster."""


class Node:
    """One machine, and its status, read anew only when another was published."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.node_id = machine.node_id
        self._runtime = Runtime(machine.run)
        self._read: tuple[int, int] | None = None
        self._status: dict[str, Any] = {}

    @property
    def status(self) -> dict[str, Any]:
        """What its agent published last; empty before that."""
        try:
            found = self._runtime.status.stat()
            if (found.st_ino, found.st_mtime_ns) != self._read:
                self._status = self.machine.status()
                self._read = found.st_ino, found.st_mtime_ns
        except FileNotFoundError:
            return {}
        return self._status

    @property
    def alive(self) -> set[str]:
        """The members that it sees alive."""
        return {each["node_id"] for each in self.status.get("members", ()) if each["state"] == "alive"}

    @property
    def holder(self) -> str | None:
        """Who has the lease of the role that is always lent."""
        leases = self.status.get("leases", ())
        return next((each["holder"] for each in leases if each["role"] == COORDINATOR), None)

    def ask(self, request: str, **arguments: object) -> dict[str, Any]:
        """Ask its agent something by the control socket."""
        return client.ask(self._runtime.socket, {"request": request, **arguments})

    def approve_somebody(self) -> None:
        """Commit something harmless: let a node in that does not exist."""
        self.ask("approve", node=identity_of_seed(random(32)).node_id)

    def has_peer(self, node_id: str) -> bool:
        """Tell whether WireGuard itself knows the peer."""
        return wireguard_key(node_id) in UserspaceDevice(self.machine.mesh).read().peers


class Cluster:
    """A heap of machines of which SIZE are to form a cluster; one more is ready to join."""

    def __init__(self, group: Path, tools: ToolsTree, variables: Mapping[str, str]) -> None:
        self._heap = Machines(group, tools)
        try:
            credential = encode(make_credential(SIZE))
            machines = [self._heap[number] for number in range(1, SIZE + 2)]
            for machine in machines:
                machine.variables.update(variables)
                machine.give(credential)
            with ThreadPoolExecutor(len(machines)) as pool:
                list(pool.map(Machine.prepare, machines))
        except BaseException:
            self.end()
            raise
        self.nodes = [Node(machine) for machine in machines[:SIZE]]
        self.spare = Node(machines[SIZE])

    def form(self) -> dict[str, float]:
        """Start the agents of all but the spare; return the seconds from the last one's start to formed.

        With them those to each step on the way there.
        """
        for node in self.nodes:
            began = time.monotonic()
            node.machine.start_agent()
        return {
            step: _wait(f"the nodes to form a cluster: {step}", is_done) - began
            for step, is_done in (
                (samples.STARTED, lambda: all(node.status for node in self.nodes)),
                (samples.FOUNDED, lambda: any(map(_is_member, self.nodes))),
                (samples.FOLLOWED, lambda: all(map(_is_member, self.nodes))),
                (samples.FORMED, lambda: _is_formed(self.nodes)),
            )
        }

    def join(self) -> float:
        """Start the spare; return the seconds until all know it as a member."""
        began = time.monotonic()
        self.spare.machine.start_agent()
        joined = _wait("one more node to join", lambda: _is_formed([*self.nodes, self.spare]))
        self._settle([*self.nodes, self.spare])
        return joined - began

    def lose_member(self) -> float:
        """Cut the power of the spare, which has no vote; return the seconds until all see it dead."""
        began = time.monotonic()
        self.spare.machine.cut_power()
        return _wait("a death to be seen", lambda: _nobody_sees(self.nodes, self.spare.node_id)) - began

    def remove_member(self) -> float:
        """Remove the spare; return the seconds until no node has it as a peer of its mesh."""
        gone = self.spare.node_id
        _wait("the mesh to be whole", lambda: all(node.has_peer(gone) for node in self.nodes))
        with ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            asked = pool.submit(self.nodes[0].ask, "remove", node=gone)
            taken = _wait("a peer to go", lambda: not any(node.has_peer(gone) for node in self.nodes)) - began
            asked.result()
        # A removal takes a new gossip key, with which every Serf is started again.
        _wait("a new gossip key", lambda: all(_gossip_key(node) > 1 for node in self.nodes))
        self._settle(self.nodes)
        return taken

    def lose_leader(self) -> tuple[float, float]:
        """Kill the agents of leader and lease holder; return seconds to the next commit, and to a new holder.

        Mostly both are one node, which is killed once.
        """
        nodes, leader = self.nodes, self.nodes[0].status["raft"]["leader"]
        holder = self.nodes[0].holder
        rest = [node for node in nodes if node.node_id not in (leader, holder)]
        began = time.monotonic()
        self._kill_agent(leader)
        committed = find_first([node.approve_somebody for node in rest], LIMIT) - began
        if holder != leader:
            began = time.monotonic()
            self._kill_agent(holder)
        held = _wait("a new holder", lambda: any(node.holder not in (None, holder) for node in rest)) - began
        return committed, held

    def find_processes(self, role: str) -> list[processes.Process]:
        """Return the processes of one role (agent, serf) of all nodes of the cluster, in order."""
        return [
            process
            for node in self.nodes
            for process in processes.find(self._heap.folder, f"{node.machine.name}.{role}")
        ]

    def end(self) -> None:
        """End all of it at once."""
        for machine in self._heap.all():
            machine.cut_power()
        self._heap.end()

    def keep_logs(self, folder: Path) -> None:
        """Copy what the agents said, and published last."""
        for machine in self._heap.all():
            (folder / f"bench-{machine.name}-status.json").write_text(json.dumps(machine.status(), indent=1))
            for role in ("agent", "serf"):
                (folder / f"bench-{machine.name}-{role}.log").write_text(machine.log(role))

    def _kill_agent(self, node_id: str | None) -> None:
        next(node for node in self.nodes if node.node_id == node_id).machine.kill("agent")

    def _settle(self, nodes: list[Node]) -> None:
        """Wait until for SETTLED seconds all nodes see each other, and a leader and a lease holder."""
        everybody = {node.node_id for node in nodes}
        since = time.monotonic()

        def is_calm() -> bool:
            nonlocal since
            if not (_is_formed(nodes) and all(node.alive == everybody and node.holder for node in nodes)):
                since = time.monotonic()
            return time.monotonic() - since > SETTLED

        wait_for("the cluster to settle", is_calm, LIMIT, every=0.05)


def measure(group: Path, tools: ToolsTree, variables: Mapping[str, str], logs: Path) -> dict[str, float]:
    """Make a cluster, do everything to it once, and return the seconds that each thing took.

    `variables` are further ones of the agents' environment; `logs` gets their logs when something fails.
    """
    with hold_cluster(group, tools, variables, logs) as cluster:
        taken = cluster.form()
        taken[samples.JOINED] = cluster.join()
        taken[samples.SEEN] = cluster.lose_member()
        taken[samples.GONE] = cluster.remove_member()
        taken[samples.COMMITTED], taken[samples.HELD] = cluster.lose_leader()
    return taken


@contextmanager
def hold_cluster(
    group: Path, tools: ToolsTree, variables: Mapping[str, str], logs: Path
) -> Iterator[Cluster]:
    """Make a cluster, and end it; `variables` and `logs` as in `measure`."""
    cluster = Cluster(group, tools, variables)
    try:
        yield cluster
    except Exception:
        cluster.keep_logs(logs)
        raise
    finally:
        cluster.end()


def _is_formed(nodes: list[Node]) -> bool:
    """Tell whether all are members of one cluster of just these, and know its leader."""
    wanted = {node.node_id for node in nodes}
    statuses = [node.status for node in nodes]
    return (
        all(map(_is_member, nodes))
        and all({each["node_id"] for each in status["members"]} == wanted for status in statuses)
        and len({status["cluster"]["genesis"] for status in statuses}) == 1
        and all(status["raft"]["leader"] for status in statuses)
    )


def _is_member(node: Node) -> bool:
    return node.status.get("phase") == "member"


def _nobody_sees(nodes: Iterable[Node], node_id: str) -> bool:
    return not any(node_id in node.alive for node in nodes)


def _gossip_key(node: Node) -> int:
    return int(node.status["secrets"].get("gossip", 0))


def _wait(what: str, condition: Callable[[], bool]) -> float:
    """Wait for a condition and return when it was found."""
    wait_for(what, condition, LIMIT, every=LOOK_AGAIN)
    return time.monotonic()
