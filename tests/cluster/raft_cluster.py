# SPDX-License-Identifier: Apache-2.0
"""Replicas in processes of their own, on loopback addresses, for tests."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PROGRAM = Path(__file__).with_name("raft_node.py")
PASSWORD = "dGhlIHBhc3N3b3JkIG9mIGEgY2x1c3RlciBpbiB0ZXN0cw=="
LIMIT = 15.0
SOON = {"heartbeat": 0.1, "election": 0.5, "step_down": 2.0, "tick": 0.05}
"""Times of Raft, in seconds, for tests of what does not depend on them."""


def wait_for(what: str, condition: Callable[[], T | None], limit: float = LIMIT) -> T:
    """Return the first result of `condition` that is true; fails with `what` after `limit` seconds."""
    end = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        threading.Event().wait(0.01)
    return found


class Replica:
    """One process with one replica at 127.0.0.NUMBER."""

    def __init__(
        self, number: int, root: Path, port: int, founders: Sequence[int], **settings: object
    ) -> None:
        self.number = number
        self.host = f"127.0.0.{number}"
        self.name = f"node{number}"
        self.folder = root / self.name
        self.log = root / f"{self.name}.log"
        self.port = port
        self._config = {
            "host": self.host,
            "folder": str(self.folder),
            "port": port,
            "found": [f"127.0.0.{founder}" for founder in founders],
            "password": PASSWORD,
            **settings,
        }
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._count = 0
        self.process = self._spawn()

    def _spawn(self) -> "subprocess.Popen[str]":
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), json.dumps(self._config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            self._answers[answer["id"]].put(answer)

    def begin(self, do: str, **words: object) -> Callable[[], dict[str, Any]]:
        """Give an order; returns how to wait for the answer."""
        self._count += 1
        answers = self._answers[self._count] = queue.Queue()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": self._count, "do": do, **words}) + "\n")
        self.process.stdin.flush()
        return lambda: answers.get(timeout=LIMIT)

    def ask(self, do: str, **words: object) -> dict[str, Any]:
        return self.begin(do, **words)()

    def start(self, role: str = "voter", voters: Sequence[int] = (), **words: object) -> None:
        answer = self.ask("start", role=role, voters=[f"127.0.0.{number}" for number in voters], **words)
        assert "error" not in answer, answer

    def refuse(self, role: str = "voter", voters: Sequence[int] = ()) -> str:
        """Try to start; returns why that was refused."""
        answer = self.ask("start", role=role, voters=[f"127.0.0.{number}" for number in voters])
        return str(answer["error"])

    def status(self) -> dict[str, Any]:
        """Return what the replica says of itself: RaftStatus, and more beside it."""
        return self.ask("status")

    def raft(self) -> dict[str, Any]:
        found: dict[str, Any] = self.status()["status"]
        return found

    def commit(self, word: str) -> None:
        answer = self.ask("commit", word=word)
        assert answer["outcome"] == "committed", answer

    def words(self) -> list[str]:
        return self.status()["words"] or []

    def runs(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """As a power cut is to the process: at once, without goodbye."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As a machine that vanishes is to the others: connections stay, and nobody answers."""
        self.process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.process.pid}/task")
        stats = [thread / "stat" for thread in threads.iterdir()]
        wait_for(
            "it stops", lambda: all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in stats)
        )

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def respawn(self) -> None:
        self.kill()
        self.process = self._spawn()


class Cluster:
    """Founders 127.0.0.1 to 127.0.0.N, and who joins later."""

    def __init__(self, root: Path, port: int, founders: int, **settings: object) -> None:
        self._root, self._port, self._settings = root, port, settings
        self.founders = tuple(range(1, founders + 1))
        self.replicas: dict[int, Replica] = {}
        for number in self.founders:
            self.spawn(number)
        for number in self.founders:
            self.replicas[number].start(voters=self.founders)

    def spawn(self, number: int, *, root: Path | None = None, **settings: object) -> Replica:
        founders = self.founders if number in self.founders else ()
        replica = Replica(number, root or self._root, self._port, founders, **{**self._settings, **settings})
        self.replicas[number] = replica
        return replica

    def observe(self, number: int) -> Replica:
        replica = self.spawn(number)
        replica.start("observer", self.founders)
        return replica

    def others(self, *but: Replica) -> list[Replica]:
        return [replica for replica in self.replicas.values() if replica not in but]

    def leader(self, among: Sequence[int] | None = None) -> Replica:
        """Wait for the one that leads and is ready."""

        def find() -> Replica | None:
            for number, replica in self.replicas.items():
                if number in (among or self.replicas) and replica.runs():
                    status = replica.status().get("status", {})
                    if status.get("role") == "leader" and status["ready"]:
                        return replica
            return None

        return wait_for("a leader", find)

    def settle(self, words: list[str]) -> None:
        """Wait until every replica that runs has applied `words`, in this order."""
        running = [replica for replica in self.replicas.values() if replica.runs()]
        wait_for(f"{words} everywhere", lambda: all(replica.words() == words for replica in running))

    def hand_over(self, heir: Replica) -> None:
        """Have `heir` lead: asked again when another won the election, as long as not all are connected."""

        def leads() -> bool:
            leader = self.leader()
            if leader is not heir:
                leader.ask("transfer", host=heir.host)
            return leader is heir

        wait_for(f"{heir.name} leads", leads)

    def change(self, verb: str, replica: Replica) -> None:
        """Give or take a vote: asked again when the leader changes meanwhile."""

        def done() -> bool:
            leader = self.leader()
            leader.ask(verb, host=replica.host)
            return (replica.name in leader.raft()["voters"]) == (verb == "add") and leader.raft()["ready"]

        wait_for(f"{verb} {replica.name}", done)

    def end(self) -> None:
        for replica in self.replicas.values():
            replica.process.kill()
            replica.process.wait()


Begin = Callable[..., Cluster]
"""How many founders, and settings of each."""
