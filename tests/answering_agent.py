# SPDX-License-Identifier: Apache-2.0
"""An agent for tests of the commands: a real control socket, and answers that are known."""

from pathlib import Path
from typing import Any

from agent.command import main
from agent.control.server import ControlServer
from agent.errors import ClusterError
from agent.status.document import NodeStatus
from tests.example_status import NODES, PENDING, make_status


class Agent:
    """An agent with a status, that keeps what it was asked to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.status: NodeStatus = make_status(pending=(PENDING,), removed=(NODES[7],))
        self.asked: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.server = ControlServer(folder / "agent.sock", self.handle)

    def handle(self, request: dict[str, Any], _uid: int) -> dict[str, Any]:
        if request["request"] == "status":
            return {"status": self.status.to_dict()}
        self.asked.append(request)
        answer = self.answers.get(request["request"], {"sentence": f"{request['request']}: done"})
        if "error" in answer:
            raise ClusterError(answer["error"], hint="try again")
        return answer

    def run(self, *arguments: str) -> int:
        places = ["--run", str(self.folder), "--state", str(self.folder / "state")]
        return main([*arguments, *places])
