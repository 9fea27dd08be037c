# SPDX-License-Identifier: Apache-2.0
"""The agent's end of the control socket: owns /run/cluster-os/agent.sock.

Who may ask is decided by the kernel's word for who connected (SO_PEERCRED, unix(7)): root, and the user that
the agent runs as. The mode of the socket (0660) keeps others from connecting at all.
"""

import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.control import protocol
from agent.control.listener import Listener
from agent.control.stream import read_until, read_user, send
from agent.errors import ClusterError

READ_LIMIT = 5.0  # seconds for a client to send its request
SEND_LIMIT = 10.0  # seconds for a client to take its answer
_log = logging.getLogger(__name__)

Handle = Callable[[dict[str, Any], int], dict[str, Any]]


class ControlServer:
    """Answers requests on the socket `path` from when it is made until `close`.

    `handle` gets the checked request (agent/control/protocol.py) and the user ID of who asks, and returns the
    answer or raises ClusterError. It runs in threads of the server, several at a time. The socket belongs to
    the agent's user and to `group` (a group ID; None: the agent's).

    Raises ClusterError when another agent answers there, or the socket cannot be made.
    """

    def __init__(self, path: Path, handle: Handle, *, group: int | None = None) -> None:
        self._path = path
        self._handle = handle
        self._allowed = {0, os.geteuid()}
        self._listener = Listener(_listen(path, group), self._serve, name="control")

    def close(self) -> None:
        """Answer no more, and remove the socket."""
        self._listener.close()
        with suppress(OSError):
            self._path.unlink()

    def _serve(self, connection: socket.socket) -> None:
        uid = read_user(connection)
        line = read_until(connection, b"\n", limit=protocol.MAX_REQUEST, time_limit=READ_LIMIT)
        if line:
            send(connection, self._answer(line, uid), time_limit=SEND_LIMIT)

    def _answer(self, line: bytes, uid: int) -> bytes:
        if uid not in self._allowed:
            return protocol.encode_error(ClusterError("only root may ask the agent", hint="run as root"))
        try:
            return protocol.encode_answer(self._handle(protocol.decode_request(line), uid))
        except ClusterError as error:
            return protocol.encode_error(error)
        except Exception:
            _log.exception("control: a request was not answered")
            return protocol.encode_error(
                ClusterError("the agent failed to answer", hint="see why: journalctl -u clusteros-agent")
            )


def _listen(path: Path, group: int | None) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = path.with_name(f".{path.name}.new")
    try:
        if _is_answered(path):
            raise ClusterError(
                f"another agent is running: it answers at {path}",
                hint="stop it first: systemctl stop clusteros-agent",
            )
        temporary.unlink(missing_ok=True)
        # Its mode and group are right before it has the name that clients know.
        listening.bind(str(temporary))
        temporary.chmod(0o660)
        if group is not None:
            os.chown(temporary, -1, group)
        listening.listen(128)
        temporary.replace(path)
    except OSError as error:
        listening.close()
        reason = (error.strerror or str(error)).lower()
        raise ClusterError(
            f"cannot make the control socket {path}: {reason}",
            hint="see that its folder is there, and that its name has less than 100 characters",
        ) from None
    except ClusterError:
        listening.close()
        raise
    return listening


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # its queue is full
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True
