# SPDX-License-Identifier: Apache-2.0
"""Machines that run nothing but Serf, each in a network namespace, and our client beside it."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

from agent import files
from agent.cluster import Phase
from agent.discovery.roster import Roster, read_roster
from agent.discovery.serf_config import SerfSettings, render
from agent.discovery.serf_records import Event, SerfMember
from agent.discovery.serf_rpc import SerfRpc
from agent.discovery.tags import Announcement, encode, name_node
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from harness import processes
from harness.waiting import wait_for
from image.toolstree import ToolsTree
from tests.cluster.inside import Inside
from tests.cluster.switch import SUBNET, Switch

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=Event)
GOSSIP_PORT, RPC_PORT = 7946, 7373
START_LIMIT = 20.0
"""Seconds that Serf may take to open its RPC; it takes one or two."""
GENESIS = "5a" * 32


class Gossiper:
    """One machine with a Serf, its address 10.55.0.NUMBER."""

    def __init__(self, number: int, folder: Path, switch: Switch, tools: ToolsTree, key: bytes) -> None:
        self.seed = bytes([number]) * 32
        self.name = name_node(identity_of_seed(self.seed).node_id, f"{number:012x}")
        self.address = f"{SUBNET}.{number}"
        self.gossip_address = f"{self.address}:{GOSSIP_PORT}"
        self.events: SimpleQueue[Event] = SimpleQueue()
        self._number, self._folder, self._switch, self._tools = number, folder, switch, tools
        self._serf: subprocess.Popen[bytes] | None = None
        self._inside = Inside(number, switch)
        self.settings = SerfSettings(
            name=self.name,
            bind_address="0.0.0.0",
            bind_port=GOSSIP_PORT,
            advertise=self.address,
            rpc_port=RPC_PORT,
            rpc_auth=f"key of {number}",
            gossip_key=key,
            tags=self.tags(Phase.FORMING),
            log_level="info",
        )
        self.rpc = SerfRpc(self.settings.rpc_auth, self.events.put)

    def tags(self, phase: Phase) -> Mapping[str, str]:
        genesis = GENESIS if phase is Phase.MEMBER else None
        return encode(Announcement(phase, genesis, 51820, voter=True), self.name, self.seed)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` on the machine and return what it returns."""
        return self._inside.call(function, *args, **kwargs)

    def start(self) -> None:
        """Start Serf and connect to it."""
        config = self._folder / f"serf{self._number}.json"
        files.replace(config, render(self.settings), mode=0o600)
        argv = self._switch.command(
            self._number, self._tools.command(["serf", "agent", f"-config-file={config}"])
        )
        with (self._folder / f"serf{self._number}.log").open("ab") as log:
            self._serf = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=processes.mark(self._switch.group, f"gossip{self._number}"),
            )
        self.connect()

    def connect(self) -> None:
        """Connect to Serf as soon as it answers, and take its events."""

        def connected() -> bool:
            assert self._serf is not None
            assert self._serf.poll() is None, self.log()
            try:
                self.call(self.rpc.connect)
            except ClusterError:
                return False
            return True

        wait_for(f"the RPC of {self.name}", connected, START_LIMIT)
        self.call(self.rpc.stream)

    def signal(self, number: signal.Signals) -> None:
        """Send Serf a signal, and wait for its end if that is one, or until all its threads stand still."""
        assert self._serf is not None
        pid = self._serf.pid
        self._serf.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.wait_end()
        elif number == signal.SIGSTOP:
            # On a busy machine one of its threads may still answer after the signal was sent.
            stopped = os.WSTOPPED | os.WNOHANG
            wait_for(f"{self.name} to stand still", lambda: os.waitid(os.P_PID, pid, stopped), START_LIMIT)

    def wait_end(self) -> None:
        assert self._serf is not None
        self._serf.wait(10)

    def log(self) -> str:
        return (self._folder / f"serf{self._number}.log").read_text(errors="replace")

    def members(self) -> dict[str, SerfMember]:
        return {member.name: member for member in self.call(self.rpc.members)}

    def statuses(self) -> dict[str, str]:
        return {name: member.status for name, member in self.members().items()}

    def roster(self) -> Roster:
        return read_roster(tuple(self.members().values()), Roster(), 0.0)

    def expect(
        self, kind: type[E], matches: Callable[[E], bool] = lambda event: True, limit: float = 10
    ) -> E:
        """Return the next event of this kind that matches; others before it are gone."""

        def found() -> E | None:
            while True:
                try:
                    event = self.events.get(timeout=0.2)
                except Empty:
                    return None
                if isinstance(event, kind) and matches(event):
                    return event

        return wait_for(f"{kind.__name__} on {self.name}", found, limit)

    def move(self, address: str) -> None:
        """Give the machine another address, with no word to Serf."""
        for arguments in (("flush", "dev", "eth0"), ("add", f"{address}/24", "dev", "eth0")):
            argv = self._switch.command(self._number, ["ip", "address", *arguments])
            subprocess.run(argv, check=True, capture_output=True, timeout=10)
        self.address, self.gossip_address = address, f"{address}:{GOSSIP_PORT}"
        self.settings = replace(self.settings, advertise=address)

    def clone(self, number: int) -> "Gossiper":
        """Return another machine with a copy of this one's disk."""
        other = Gossiper(number, self._folder, self._switch, self._tools, self.settings.gossip_key)
        other.seed, other.name = self.seed, name_node(self.name.partition(".")[0], f"{number:012x}")
        other.settings = replace(other.settings, name=other.name, tags=other.tags(Phase.FORMING))
        return other

    def end(self) -> None:
        self.rpc.close()
        if self._serf and self._serf.poll() is None:
            self.signal(signal.SIGKILL)
        self._inside.end()
