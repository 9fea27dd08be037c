# SPDX-License-Identifier: Apache-2.0
"""The metrics on the mesh: served while this node has a mesh address, and nowhere else."""

import time
from collections.abc import Callable

from agent.errors import ClusterError
from agent.status.document import NodeStatus
from agent.status.metrics import render
from agent.status.metrics_server import MetricsServer


class MetricsOnMesh:
    """Follows the mesh address of the node."""

    def __init__(self, port: int, read: Callable[[], NodeStatus | None]) -> None:
        self._port = port
        self._read = read
        self._server: MetricsServer | None = None
        self._host = ""
        self.error = ""

    def follow(self, status: NodeStatus) -> None:
        """Serve at the mesh address that the status tells; trying again is for the next call."""
        host = status.mesh.ipv4 if status.mesh else ""
        if host != self._host:
            self.close()
        if not host or self._server is not None:
            return
        try:
            self._server = MetricsServer(host, self._text, port=self._port)
            self._host, self.error = host, ""
        except ClusterError as error:
            self.error = error.message

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._host = ""

    def _text(self) -> str:
        status = self._read()
        return render(status, time.monotonic()) if status is not None else ""
