# SPDX-License-Identifier: Apache-2.0
"""Measure etcd beside: three nodes, our times of election and heartbeat, the leader killed again and again.

etcd is asked in JSON over HTTP: https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/
"""

import http.client
import json
import signal
import subprocess
import time
from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import Any

from agent.election.timing import Timing
from agent.errors import ClusterError
from harness import processes
from harness.waiting import wait_for
from image.bench.cluster.nodes import LIMIT, LOOK_AGAIN
from image.bench.cluster.writes import find_first
from image.toolstree import ToolsTree
from tests.cluster.inside import Inside
from tests.cluster.switch import SUBNET, Switch

NUMBERS = (1, 2, 3)
CLIENT = 9
"""Number of the machine from which etcd is asked."""
CLIENT_PORT, PEER_PORT = 2379, 2380


class Etcd:
    """A cluster of etcd that lasts for all runs."""

    def __init__(self, group: Path, tools: ToolsTree) -> None:
        self._group, self._tools = group, tools
        self._switch = Switch(group)
        self._programs: dict[int, subprocess.Popen[bytes]] = {}
        for number in NUMBERS:
            self._switch.plug(number)
        self._client = Inside(CLIENT, self._switch)
        for number in NUMBERS:
            self._start(number)

    def measure(self) -> float:
        """Kill the leader; return the seconds until a write succeeded. The leader is started again."""
        leader = wait_for("etcd to have a leader", self._find_leader, LIMIT, every=LOOK_AGAIN)
        writes = [partial(_put, number) for number in NUMBERS if number != leader]
        began = time.monotonic()
        for process in processes.find(self._group, f"etcd{leader}"):
            process.signal(signal.SIGKILL)
        written = self._client.call(find_first, writes, LIMIT)
        self._programs.pop(leader).wait()
        self._start(leader)
        return written - began

    def end(self) -> None:
        """End it."""
        self._client.end()
        processes.end_all(self._group, grace=0)

    def _find_leader(self) -> int | None:
        """Return the number of the leader once all three agree on it."""
        statuses = {}
        for number in NUMBERS:
            try:
                statuses[number] = self._client.call(_ask, number, "maintenance/status")
            except (OSError, ClusterError):
                return None
        if len({(each["leader"], each["raftTerm"]) for each in statuses.values()}) != 1:
            return None
        return next(
            (number for number, each in statuses.items() if each["header"]["member_id"] == each["leader"]),
            None,
        )

    def _start(self, number: int) -> None:
        timing = Timing()
        host = f"http://{SUBNET}.{number}"
        options = {
            "name": f"etcd{number}",
            "data-dir": self._group / f"etcd{number}",
            "listen-peer-urls": f"{host}:{PEER_PORT}",
            "initial-advertise-peer-urls": f"{host}:{PEER_PORT}",
            "listen-client-urls": f"{host}:{CLIENT_PORT}",
            "advertise-client-urls": f"{host}:{CLIENT_PORT}",
            "initial-cluster": ",".join(f"etcd{each}=http://{SUBNET}.{each}:{PEER_PORT}" for each in NUMBERS),
            "heartbeat-interval": round(1000 * timing.heartbeat),
            "election-timeout": round(1000 * timing.election),
            "log-level": "error",
        }
        argv = ["etcd", *(f"--{name}={value}" for name, value in options.items())]
        with (self._group / f"etcd{number}.log").open("ab") as log:
            self._programs[number] = subprocess.Popen(
                self._switch.command(number, self._tools.command(argv)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=processes.mark(self._group, f"etcd{number}"),
            )


def _put(number: int) -> None:
    _ask(number, "kv/put", key=b64encode(b"bench").decode(), value=b64encode(b"1").decode())


def _ask(number: int, what: str, **content: object) -> dict[str, Any]:
    connection = http.client.HTTPConnection(f"{SUBNET}.{number}", CLIENT_PORT, timeout=10)
    try:
        connection.request("POST", f"/v3/{what}", json.dumps(content))
        answer = connection.getresponse()
        body = json.loads(answer.read())
    except http.client.HTTPException as error:
        raise ClusterError(f"etcd gave no answer: {error}") from None
    finally:
        connection.close()
    if answer.status != http.client.OK or not isinstance(body, dict):
        raise ClusterError(f"etcd refused: {body}")
    return body
