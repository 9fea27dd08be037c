# SPDX-License-Identifier: Apache-2.0
"""A command's end of the control socket."""

import socket
from pathlib import Path
from typing import Any

from agent.control import protocol
from agent.control.stream import read_until, send
from agent.errors import ClusterError

_SEE_WHY = "see why: systemctl status clusteros-agent; journalctl -b -u clusteros-agent"


class NotRunningError(ClusterError):
    """No agent answers at the socket."""


class NotAllowedError(ClusterError):
    """This user may not connect to the socket."""


def ask(path: Path, request: dict[str, Any], *, time_limit: float = 60.0) -> dict[str, Any]:
    """Return what the agent at the socket `path` answers to `request` within `time_limit` seconds.

    Requests and answers are those of agent/control/protocol.py. Raises the ClusterError with which the agent
    answers, NotRunningError or NotAllowedError.
    """
    line = protocol.encode_request(request)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(min(time_limit, 5.0))
        try:
            connection.connect(str(path))
            send(connection, line, time_limit=time_limit)
            answer = read_until(connection, b"\n", limit=protocol.MAX_ANSWER, time_limit=time_limit)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunningError(
                f"the agent is not running: nothing answers at {path}", hint=_SEE_WHY
            ) from None
        except PermissionError:
            raise NotAllowedError(f"this user may not ask the agent at {path}", hint="run as root") from None
        except (TimeoutError, BlockingIOError):
            raise ClusterError(f"the agent gave no answer in {time_limit:g} s", hint=_SEE_WHY) from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ClusterError(f"cannot ask the agent at {path}: {reason}", hint=_SEE_WHY) from None
    if not answer:
        raise ClusterError("the agent ended the connection without an answer", hint=_SEE_WHY)
    return protocol.decode_answer(answer)
