# SPDX-License-Identifier: Apache-2.0
"""Machines in network namespaces: the real agent, the real Serf and a real WireGuard in each.

All run in the tools tree, on Debian's Python and in the versions of the image. What systemd does on a node is
done here: Serf is started when its configuration appears and again when that is replaced or Serf ended.
"""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agent import files, keystore, record
from agent.identity import identity_of_seed
from agent.mesh.userspace import SOCKETS
from harness import processes
from harness.waiting import wait_for
from image.toolstree import ToolsTree
from tests.cluster.switch import SUBNET, Switch

PROJECT = Path(__file__).parents[2]
LOOK_AGAIN = 0.05
FORM_LIMIT = 60.0
"""Seconds that a cluster may take to form here; it takes some."""


def node_python() -> dict[str, str]:
    """The environment of Python in the tools tree: the agent of this checkout on Debian's packages."""
    path = [PROJECT, os.environ["CLUSTEROS_SITE_PACKAGES"], "/usr/lib/python3/dist-packages"]
    return {
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


class Machine:
    """One machine: its disk (`folder`) and its processes."""

    def __init__(self, number: int, folder: Path, switch: Switch, tools: ToolsTree) -> None:
        self.number = number
        self.name = f"node{number}"
        self.folder = folder
        self.address = f"{SUBNET}.{number}"
        self.hardware = f"{number:012x}"
        self.ek: str | None = None
        self.serf_may_start = threading.Event()
        self.serf_may_start.set()
        self.clock = ""
        self.variables: dict[str, str] = {}
        self.serf_settings: dict[str, str] = {}
        """What Serf is configured with besides what the agent writes; the agent knows nothing of it."""
        self._switch = switch
        self._tools = tools
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()
        self._supervisor: threading.Thread | None = None
        self.state, self.run = folder / "state", folder / "run"
        for path in (self.state, self.run):
            files.make_folder(path, mode=0o755)
        seed = keystore.make(self.state / "identity.json", tpm=None).secret
        self._seed = seed
        self.node_id = identity_of_seed(seed).node_id
        # First boot is over here.
        files.replace(self.state / "firstboot.json", record.encode(identity_of_seed(seed)), mode=0o644)
        switch.plug(number)

    @property
    def mesh(self) -> str:
        """Name of its mesh interface: WireGuard's sockets of all machines are in one folder here."""
        return f"mesh{os.getpid() % 100000}{chr(ord('a') + self._switch.number % 26)}{self.number}"

    def copy_disk(self, other: "Machine") -> None:
        """Become a copy of another machine's disk; both are off."""
        shutil.rmtree(self.state)
        shutil.copytree(other.state, self.state)
        self._seed, self.node_id = other._seed, other.node_id

    def give(self, credential: bytes) -> None:
        """Hand it the join credential."""
        files.replace(self.folder / "cluster-os.join", credential, mode=0o600)

    def start(self) -> None:
        """Switch it on."""
        self.prepare()
        self.start_agent()

    def prepare(self) -> None:
        """Do what a boot does before the agent starts, and have Serf started when that asks for it."""
        content = {"seed": self._seed.hex(), "hardware": self.hardware, "ek": self.ek}
        files.replace(self.run / "self.json", json.dumps(content).encode(), mode=0o400)
        if (self.folder / "cluster-os.join").exists():
            credential = (self.folder / "cluster-os.join").read_bytes()
            files.replace(self.run / "cluster-os.join", credential, mode=0o400)
        self.start_wireguard()
        firewall = "import sys; from agent.mesh.nftables import main; sys.exit(main([]))"
        done = self.inside("python3", "-S", "-c", firewall)
        assert done.returncode == 0, done.stderr
        self._stop.clear()
        self._supervisor = threading.Thread(target=self._keep_serf, daemon=True)
        self._supervisor.start()

    def start_wireguard(self) -> None:
        """Start the WireGuard program alone."""
        self._spawn("wireguard", ["wireguard-go", "-f", self.mesh])

    def start_agent(self, *through: str) -> None:
        """Start the agent alone; `through`: a program that runs it."""
        clock = ["faketime", "-f", self.clock] if self.clock else []
        self._spawn("agent", [*through, *clock, "python3", "-S", "-m", "agent", "start", *self._where()])

    def cut_power(self) -> None:
        """End all its processes at once, without a warning."""
        self._stop.set()
        for process in processes.find(self._switch.group):
            if process.role in {f"{self.name}.{role}" for role in self._processes}:
                process.signal(signal.SIGKILL)
        if self._supervisor is not None:
            self._supervisor.join()
        for role in list(self._processes):
            self.kill(role)
        for path in self.run.iterdir():
            path.unlink()

    def kill(self, role: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one of its programs (agent, serf, wireguard); wait for its end if that is one."""
        for process in processes.find(self._switch.group, f"{self.name}.{role}"):
            process.signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            started = self._processes.pop(role, None)
            if started is not None:
                started.wait(20)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `node-agent` with these arguments."""
        argv = ["python3", "-S", "-m", "agent", *arguments, *self._where()]
        return subprocess.run(
            self._switch.command(self.number, self._tools.command(argv)),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=PROJECT,
            env=self._environment("command"),
        )

    def status(self) -> dict[str, Any]:
        """What the agent published last; empty before that."""
        try:
            content: dict[str, Any] = json.loads((self.run / "status.json").read_bytes())
        except FileNotFoundError:
            return {}
        return content

    def log(self, role: str = "agent") -> str:
        """What a program has written so far."""
        path = self.folder / f"{role}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def inside(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the tools tree on the machine."""
        return subprocess.run(
            self._switch.command(self.number, self._tools.command(argv)),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=PROJECT,
            env=self._environment("command"),
        )

    def _where(self) -> list[str]:
        return ["--state", str(self.state), "--run", str(self.run)]

    def _environment(self, role: str) -> dict[str, str]:
        variables: Mapping[str, str] = {
            **node_python(),
            "CLUSTEROS_NETWORKING_INTERFACE": self.mesh,
            "CLUSTEROS_STATE": str(self.state),
            "DONT_FAKE_MONOTONIC": "1",
        }
        return {**processes.mark(self._switch.group, f"{self.name}.{role}"), **variables, **self.variables}

    def _spawn(self, role: str, argv: list[str]) -> None:
        with (self.folder / f"{role}.log").open("ab") as log:
            self._processes[role] = subprocess.Popen(
                self._switch.command(self.number, self._tools.command(argv)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env=self._environment(role),
            )

    def _keep_serf(self) -> None:
        """Do what clusteros-serf.path and clusteros-serf.service do."""
        started_with = None
        while not self._stop.wait(LOOK_AGAIN):
            try:
                present = (self.run / "serf.json").stat().st_ino
            except FileNotFoundError:
                continue
            process = self._processes.get("serf")
            if process is not None and (process.poll() is not None or present != started_with):
                self.kill("serf", signal.SIGTERM)
                process = None
            if process is None and self.serf_may_start.is_set():
                started_with = present
                more = self.folder / "serf-more.json"
                files.replace(more, json.dumps(self.serf_settings).encode(), mode=0o600)
                self._spawn(
                    "serf", ["serf", "agent", f"-config-file={self.run}/serf.json", f"-config-file={more}"]
                )


class Machines:
    """A heap of machines on one switch."""

    def __init__(self, folder: Path, tools: ToolsTree) -> None:
        self.folder = folder
        self._tools = tools
        self.switch = Switch(folder)
        self._machines: dict[int, Machine] = {}

    def __getitem__(self, number: int) -> Machine:
        if number not in self._machines:
            folder = self.folder / f"node{number}"
            self._machines[number] = Machine(number, folder, self.switch, self._tools)
        return self._machines[number]

    def all(self) -> list[Machine]:
        """All machines that there are, in order."""
        return [self._machines[number] for number in sorted(self._machines)]

    def start(self, count: int, credential: bytes) -> list[Machine]:
        """Switch machines 1 to `count` on, all with one credential."""
        return self.start_more(range(1, count + 1), credential)

    def start_more(self, numbers: Iterable[int], credential: bytes) -> list[Machine]:
        """Switch these machines on."""
        machines = [self[number] for number in numbers]
        for machine in machines:
            machine.give(credential)
        for machine in machines:
            machine.start()
        return machines

    def end(self) -> None:
        """End everything."""
        for machine in self.all():
            machine._stop.set()
        processes.end_all(self.folder, grace=5)
        for machine in self.all():
            # A WireGuard program that was killed leaves its socket.
            (SOCKETS / f"{machine.mesh}.sock").unlink(missing_ok=True)


def members(machine: Machine) -> set[str]:
    """The node IDs that the machine knows as members."""
    return {member["node_id"] for member in machine.status().get("members", [])}


def wait_formed(machines: list[Machine], limit: float = FORM_LIMIT) -> None:
    """Wait until every machine is a member of one cluster of just these, with a leader."""
    wanted = {machine.node_id for machine in machines}

    def formed() -> bool:
        documents = [machine.status() for machine in machines]
        return (
            all(document.get("phase") == "member" for document in documents)
            and all(members(machine) == wanted for machine in machines)
            and len({document["cluster"]["genesis"] for document in documents}) == 1
            and all(document["raft"]["leader"] for document in documents)
        )

    wait_for(f"{len(machines)} machines to form one cluster", formed, limit)
