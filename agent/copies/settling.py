# SPDX-License-Identifier: Apache-2.0
"""Answer, over varlink, when what a role knew at some time is saved and copied.

The socket `settle` in $RUNTIME_DIRECTORY serves the role's own user. One method takes a time in milliseconds
of CLOCK_BOOTTIME (that of field 22 of /proc/PID/stat), and answers no when it does not come to pass in time:

    varlinkctl call unix:/run/clusteros-copies/NAME/settle org.clusteros.Copies.Settle '{"since":81234}'
    {"settled":true}

Messages are those of https://varlink.org/Method-Call: JSON, ended by a zero byte.
"""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from agent.control.stream import read_until, send
from agent.errors import ClusterError
from agent.status import schema
from agent.status.schema import Range

METHOD = "org.clusteros.Copies.Settle"
PATIENCE = 8.0
"""Seconds until the answer is no. Without most voters the lease ends earlier."""
_LIMIT = 4096  # bytes
_TIME_LIMIT = 5.0


@dataclass(frozen=True)
class Request:
    """Parameters of the method."""

    since: Annotated[int, Range(0, (1 << 53) - 1)]


class Settling:
    """`settle` gets the time in seconds and how many seconds it may wait."""

    def __init__(self, settle: Callable[[float, float], bool]) -> None:
        self._settle = settle

    def serve(self, connection: socket.socket) -> None:
        """Answer one call; for Listener."""
        asked = read_until(connection, b"\0", limit=_LIMIT, time_limit=_TIME_LIMIT)
        send(connection, json.dumps(self._answer(asked)).encode() + b"\0", time_limit=_TIME_LIMIT)

    def _answer(self, asked: bytes) -> dict[str, object]:
        try:
            call = json.loads(asked.removesuffix(b"\0"))
            if not isinstance(call, dict) or call.get("method") != METHOD:
                return _error("MethodNotFound", {"method": "which is not known"})
            request = schema.decode(Request, call.get("parameters"), "parameters")
        except (ValueError, RecursionError):
            return _error("InvalidParameter", {"parameter": "which is no JSON"})
        except ClusterError as error:
            return _error("InvalidParameter", {"parameter": error.message})
        return {"parameters": {"settled": self._settle(request.since / 1000, PATIENCE)}}


def listen(path: Path) -> socket.socket:
    """Return a socket at `path`, for the same user only."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen(128)
    return listening


def _error(name: str, parameters: dict[str, object]) -> dict[str, object]:
    return {"error": f"org.varlink.service.{name}", "parameters": parameters}
