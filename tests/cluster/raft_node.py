# SPDX-License-Identifier: Apache-2.0
"""A program with one replica, for tests: takes orders as JSON lines, answers as JSON lines.

The state machine is a list of words, each at most once; a word that begins with `!` is refused.
"""

import dataclasses
import json
import logging
import resource
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.election.raft import Machine, Outcome, Raft, Timing, exists, found, recover
from agent.errors import ClusterError

State = tuple[str, ...]


def reduce(state: State, data: bytes) -> tuple[State, Any]:
    word = data.decode()
    if word.startswith("!"):
        return state, "refused"
    if word in state:
        return state, len(state)
    return (*state, word), len(state) + 1


def encode(state: State) -> bytes:
    return json.dumps(state).encode()


def decode(data: bytes) -> State:
    try:
        return tuple(json.loads(data))
    except ValueError:
        raise ClusterError("not a list of words") from None


def names(state: State) -> Mapping[str, str]:
    return {f"127.0.0.{number}": f"node{number}" for number in range(1, 30)}


MACHINE = Machine(reduce, encode, decode, names)


class Program:
    """Takes orders, one after the other."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._raft: Raft[State] | None = None

    def say(self, **words: object) -> None:
        with self._lock:
            print(json.dumps(words), flush=True)

    def start(self, role: str, voters: list[str], fresh: bool = False) -> None:
        config = self._config
        folder = Path(config["folder"])
        if config.get("found") and not exists(folder):
            found(folder, MACHINE, (), tuple(config["found"]), port=config["port"])
        self._raft = Raft(
            MACHINE,
            config["host"],
            tuple(voters),
            config["password"],
            folder=folder if role == "voter" else None,
            fresh=fresh,
            port=config["port"],
            timing=Timing(**config.get("timing", {})),
        )

    def do(self, order: dict[str, Any]) -> None:
        number = order.pop("id")
        what = order.pop("do")

        def done(outcome: Outcome, result: object) -> None:
            self.say(id=number, outcome=outcome.value, result=result, at=time.monotonic())

        raft = self._raft
        try:
            if what == "start":
                self.start(**order)
                self.say(id=number)
            elif what == "limit":
                # What a full disk does to a write: nothing that is longer may be written.
                resource.setrlimit(resource.RLIMIT_FSIZE, (order["bytes"], resource.RLIM_INFINITY))
                self.say(id=number)
            elif what == "recover":
                folder, port = Path(self._config["folder"]), self._config["port"]
                recover(folder, MACHINE, tuple(order["state"]), self._config["host"], port=port)
                self.say(id=number)
            elif raft is None:
                self.say(id=number, error="not started")
            elif what == "status":
                fault, applied = raft.fault(), raft.applied()
                self.say(
                    id=number,
                    status=dataclasses.asdict(raft.status()),
                    words=None if applied is None else applied.state,
                    leads=raft.leader_since() is not None,
                    fault=None if fault is None else fault.message,
                )
            elif what == "stop":
                raft.stop()
                alive = [thread.name for thread in threading.enumerate() if thread.name == "raft"]
                self.say(id=number, threads=alive)
            elif what == "commit":
                raft.commit(order["word"].encode(), done, time_limit=order.get("limit", 5.0))
            elif what == "meet":
                raft.meet(tuple(order["hosts"]))
                self.say(id=number)
            elif what == "add":
                raft.add_voter(order["host"], done)
            elif what == "remove":
                raft.remove_voter(order["host"], done)
            elif what == "transfer":
                raft.transfer_leadership(order.get("host"), done)
        except ClusterError as error:
            self.say(id=number, error=error.message)


def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    program = Program(json.loads(sys.argv[1]))
    for line in sys.stdin:
        program.do(json.loads(line))


if __name__ == "__main__":
    main()
