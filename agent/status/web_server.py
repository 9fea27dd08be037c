# SPDX-License-Identifier: Apache-2.0
"""Serves what can be looked at over HTTP/1.1: a few paths, read-only, to a few clients at a time.

Its own few lines and not http.server: that reads headers without a limit of time, and would be a tenth of
the agent's memory.
"""

import socket
from collections.abc import Callable, Collection, Mapping

from agent.control.listener import Listener
from agent.control.stream import read_until, send
from agent.errors import ClusterError
from agent.status.http import MAX_REQUEST, Content, Refusal, answer, read_request, refuse

TIME_LIMIT = 5.0  # seconds for a client to ask, and again to take the answer

Pages = Mapping[str, Callable[[], Content]]


class WebServer:
    """Answers at `host`, an IPv4 or IPv6 address of the mesh, from when it is made until `close`.

    `pages` gives the content of each path at the moment; it runs in threads of the server. `names` are
    those of this node (agent/status/http.py). `port` 0 takes a free one. Raises ClusterError when the address
    cannot be bound.
    """

    def __init__(self, host: str, pages: Pages, *, names: Collection[str], port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(128)
        except OSError as error:
            listening.close()
            raise ClusterError(
                f"cannot serve status and metrics at {host} port {port}: "
                f"{(error.strerror or str(error)).lower()}",
                hint="see that the address is this node's and the port is free: ip addr; ss -tlnp",
            ) from None
        self.port: int = listening.getsockname()[1]
        self._pages = pages
        self._names = names
        self._listener = Listener(listening, self._serve, name="web")

    def close(self) -> None:
        """Answer no more."""
        self._listener.close()

    def _serve(self, connection: socket.socket) -> None:
        head = read_until(connection, b"\r\n\r\n", limit=MAX_REQUEST, time_limit=TIME_LIMIT)
        if head:
            send(connection, self._answer(head), time_limit=TIME_LIMIT)

    def _answer(self, head: bytes) -> bytes:
        try:
            request = read_request(head, self._names)
            page = self._pages.get(request.path)
            if page is None:
                raise Refusal("404 Not Found")
        except Refusal as refusal:
            return refuse(refusal)
        return answer(page(), with_body=request.with_body)
