# SPDX-License-Identifier: Apache-2.0
"""Status and metrics on the mesh: served while this node has mesh addresses, there and nowhere else."""

import json
import time
from collections.abc import Callable

from agent.errors import ClusterError
from agent.status import health, metrics
from agent.status.document import NodeStatus
from agent.status.http import Content
from agent.status.page import read_page
from agent.status.web_server import Pages, WebServer


class WebOnMesh:
    """Follows the mesh addresses of the node."""

    def __init__(self, port: int, read: Callable[[], NodeStatus | None]) -> None:
        self._port = port
        self._read = read
        self._servers: dict[str, WebServer] = {}  # by address
        self.error = ""

    def follow(self, status: NodeStatus) -> None:
        """Serve at the mesh addresses that the status tells; trying again is for the next call."""
        wanted = (status.mesh.ipv4, status.mesh.ipv6) if status.mesh else ()
        for host in self._servers.keys() - set(wanted):
            self._servers.pop(host).close()
        pages: Pages = {"/": read_page, "/status.json": self._document, "/metrics": self._metrics}
        # By a tunnel people come to their own machine's name.
        names = (status.hostname, "localhost")
        for host in wanted:
            if host in self._servers:
                continue
            try:
                self._servers[host] = WebServer(host, pages, names=names, port=self._port)
                self.error = ""
            except ClusterError as error:
                self.error = error.message

    @property
    def ports(self) -> dict[str, int]:
        """Where it serves now: the port by address."""
        return {host: server.port for host, server in self._servers.items()}

    def close(self) -> None:
        """Serve no more."""
        for server in self._servers.values():
            server.close()
        self._servers = {}

    def _metrics(self) -> Content:
        status = self._read()
        text = metrics.render(status, time.monotonic()) if status is not None else ""
        return Content(metrics.CONTENT_TYPE, text.encode())

    def _document(self) -> Content:
        status = self._read()
        content = health.tell(status, time.monotonic() - status.published) if status is not None else {}
        return Content("application/json", json.dumps(content, allow_nan=False).encode() + b"\n")
