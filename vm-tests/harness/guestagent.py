# SPDX-License-Identifier: Apache-2.0
"""Speak to the QEMU guest agent: a client of our own for its few commands.

Protocol: one JSON object a line, QEMU's docs/interop/qemu-ga-ref. `qemu.qmp` can be told to skip the
greeting, but ends the connection on the 0xFF byte of guest-sync-delimited and on a late answer to an earlier,
lost caller, which are just what happens when a guest reboots or a caller was killed. Each call here is a
connection of its own, so that a second command need not wait until the first one, perhaps a long one, is
done.
"""

import base64
import json
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.errors import ClusterError
from harness.model import Json, Result
from harness.waiting import LimitExceeded, wait_for

ANSWER_LIMIT = 20.0
"""Seconds for the answer to one request; a loaded TCG guest needs a few."""
_DELIMITER = b"\xff"


class GuestAgentError(ClusterError):
    """The guest agent does not answer, or refused a request."""


class GuestAgent:
    """The agent behind the unix socket `path` of a running VM."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ping(self, limit: float = ANSWER_LIMIT) -> bool:
        """True when the agent answers within `limit` seconds."""
        try:
            self.call("guest-ping", limit=limit)
        except GuestAgentError:
            return False
        return True

    def call(
        self, command: str, arguments: dict[str, Any] | None = None, *, limit: float = ANSWER_LIMIT
    ) -> Json:
        """Run one agent command and return its answer; raises GuestAgentError."""
        try:
            return _Connection(self._path, limit).call(command, arguments or {})
        except (OSError, ValueError) as error:
            raise GuestAgentError(
                f"the guest agent does not answer {command}: {error or type(error).__name__}"
            ) from None

    def execute(self, argv: Sequence[str], *, stdin: bytes | None = None, limit: float = 60.0) -> Result:
        """Run a program in the guest and return how it ended; it is killed after `limit` seconds.

        Output is what the agent keeps, 16 MiB a stream. Raises GuestAgentError when the agent does not
        answer, LimitExceeded after `limit`.
        """
        request: dict[str, Any] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": "separated"}
        if stdin is not None:
            request["input-data"] = base64.b64encode(stdin).decode()
        pid = self.call("guest-exec", request)["pid"]

        def ended() -> dict[str, Any] | None:
            status: dict[str, Any] = self.call("guest-exec-status", {"pid": pid})
            return status if status["exited"] else None

        try:
            status = wait_for(f"the end of {argv[0]} in the guest", ended, limit)
        except LimitExceeded:
            kill = f"kill -KILL -- -{pid} {pid}"  # its process group, where it made one, and itself
            self.call("guest-exec", {"path": "sh", "arg": ["-c", kill]})
            raise
        if status.get("out-truncated") or status.get("err-truncated"):
            raise GuestAgentError(f"{argv[0]} wrote more than the guest agent keeps", hint="write to a file")
        return Result(
            status=status["exitcode"] if "exitcode" in status else 128 + status["signal"],
            stdout=base64.b64decode(status.get("out-data", "")),
            stderr=base64.b64decode(status.get("err-data", "")),
        )


class _Connection:
    """One connection: synchronise, ask, read the answer."""

    def __init__(self, path: Path, limit: float) -> None:
        self._end = time.monotonic() + limit
        self._data = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._path = path

    def call(self, command: str, arguments: dict[str, Any]) -> Json:
        with self._socket as connection:
            self._arm()
            connection.connect(str(self._path))
            # 0xFF makes the agent forget half a request of somebody before us, and 0xFF before the answer
            # makes us forget half an answer to them. The number is random, so that no late answer is taken
            # for ours.
            number = secrets.randbelow(1 << 52)
            self._send(_DELIMITER, "guest-sync-delimited", {"id": number})
            while self._answer(self._until(_DELIMITER) and self._until(b"\n")) != number:
                pass
            self._send(b"", command, arguments)
            return self._answer(self._until(b"\n"))

    def _send(self, prefix: bytes, command: str, arguments: dict[str, Any]) -> None:
        self._arm()
        message = {"execute": command, "arguments": arguments}
        self._socket.sendall(prefix + json.dumps(message).encode() + b"\n")

    def _until(self, end: bytes) -> bytes:
        while end not in self._data:
            self._arm()
            if not (chunk := self._socket.recv(1 << 16)):
                raise ConnectionError("the VM closed the connection")
            self._data += chunk
        found, _, self._data = self._data.partition(end)
        return found + end

    @staticmethod
    def _answer(line: bytes) -> Json:
        message = json.loads(line)
        if "error" in message:
            raise GuestAgentError(
                f"the guest agent refused: {message['error'].get('desc', message['error'])}"
            )
        return message["return"]

    def _arm(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self._socket.settimeout(left)
