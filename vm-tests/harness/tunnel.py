# SPDX-License-Identifier: Apache-2.0
"""A way from a port of this machine to one on a VM's mesh address, for a person with a browser.

Nothing but the mesh reaches such a port, and this machine is no member; so each request goes in through the
guest agent, and its answer comes back there. One request a connection, as the agent's pages have it.
"""

import socket
from collections.abc import Callable

from agent.control.listener import Listener
from agent.control.stream import read_until, send
from agent.errors import ClusterError
from harness.guest import Guest

MAX_REQUEST = 16 << 10  # bytes; the other end has its own limit
TIME_LIMIT = 30.0
# bash opens the connection: the image has no other program for it.
_SCRIPT = 'exec 3<>"/dev/tcp/$0/$1" && cat >&3 && cat <&3'


class Tunnel:
    """Serves at 127.0.0.1, `port` (0: a free one), what `guest` serves at its mesh address; until `close`.

    Raises ClusterError when the port is taken.
    """

    def __init__(self, guest: Guest, address: str, remote: int, port: int) -> None:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", port))
            listening.listen()
        except (OSError, OverflowError) as error:
            listening.close()
            raise ClusterError(
                f"port {port} of this machine cannot be used: {_reason(error)}",
                hint="name another one with --port",
            ) from None
        self.port: int = listening.getsockname()[1]
        self._ask = _asker(guest, address, remote)
        self._listener = Listener(listening, self._serve, name="tunnel")

    def close(self) -> None:
        """Serve no more."""
        self._listener.close()

    def _serve(self, connection: socket.socket) -> None:
        head = read_until(connection, b"\r\n\r\n", limit=MAX_REQUEST, time_limit=TIME_LIMIT)
        if head:
            send(connection, self._ask(head), time_limit=TIME_LIMIT)


def _reason(error: OSError | OverflowError) -> str:
    return ((isinstance(error, OSError) and error.strerror) or str(error)).lower()


def _asker(guest: Guest, address: str, port: int) -> Callable[[bytes], bytes]:
    def ask(request: bytes) -> bytes:
        argv = ["bash", "-c", _SCRIPT, address, str(port)]
        try:
            done = guest.execute(argv, stdin=request, limit=TIME_LIMIT)
        except ClusterError:
            # The browser is told by a connection that ends; the page tells its reader.
            return b""
        return done.stdout

    return ask
