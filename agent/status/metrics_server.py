# SPDX-License-Identifier: Apache-2.0
"""Serves the metrics over HTTP/1.1: GET /metrics and nothing else, to a few clients at a time.

Its own few lines and not http.server: that reads headers without a limit of time, and would be a tenth of
the agent's memory.
"""

import socket
from collections.abc import Callable

from agent.control.listener import Listener
from agent.control.stream import read_until, send
from agent.errors import ClusterError
from agent.status.metrics import CONTENT_TYPE

PORT = 7980
MAX_REQUEST = 8192  # bytes of request line and headers
TIME_LIMIT = 5.0  # seconds for a client to ask, and again to take the answer


class MetricsServer:
    """Answers at `host`, an IPv4 or IPv6 address of the mesh, from when it is made until `close`.

    `read` returns the metrics of the moment (agent/status/metrics.py); it runs in threads of the server.
    `port` 0 takes a free one. Raises ClusterError when the address cannot be bound.
    """

    def __init__(self, host: str, read: Callable[[], str], *, port: int = PORT) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(128)
        except OSError as error:
            listening.close()
            raise ClusterError(
                f"cannot serve metrics at {host} port {port}: {(error.strerror or str(error)).lower()}",
                hint="see that the address is this node's and the port is free: ip addr; ss -tlnp",
            ) from None
        self.port: int = listening.getsockname()[1]
        self._read = read
        self._listener = Listener(listening, self._serve, name="metrics")

    def close(self) -> None:
        """Answer no more."""
        self._listener.close()

    def _serve(self, connection: socket.socket) -> None:
        head = read_until(connection, b"\r\n\r\n", limit=MAX_REQUEST, time_limit=TIME_LIMIT)
        if head:
            send(connection, self._answer(head), time_limit=TIME_LIMIT)

    def _answer(self, head: bytes) -> bytes:
        if len(head) > MAX_REQUEST:
            return _response("431 Request Header Fields Too Large")
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        target, _, version = rest.partition(b" ")
        if not head.endswith(b"\r\n\r\n") or not version.startswith(b"HTTP/1."):
            return _response("400 Bad Request")
        if target.partition(b"?")[0] != b"/metrics":
            return _response("404 Not Found")
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", extra="Allow: GET, HEAD\r\n")
        return _response("200 OK", self._read(), with_body=method == b"GET")


def _response(status: str, text: str | None = None, *, with_body: bool = True, extra: str = "") -> bytes:
    body = (f"{status}\n" if text is None else text).encode()
    kind = "text/plain; charset=utf-8" if text is None else CONTENT_TYPE
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{extra}Connection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
