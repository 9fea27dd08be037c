# SPDX-License-Identifier: Apache-2.0
"""`vm web`: requests of a browser here go through a guest, whose place this machine takes in these tests."""

import http.client
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from agent.errors import ClusterError
from agent.status.http import Content
from agent.status.web_server import WebServer
from harness.guest import Guest
from harness.model import Result
from harness.tunnel import Tunnel

LIMIT = 20.0  # seconds


class Here(Guest):
    """A guest that is this machine."""

    def __init__(self) -> None:
        self.name = "here"

    def execute(self, argv: Sequence[str], *, stdin: bytes | None = None, limit: float = 60.0) -> Result:
        done = subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=limit)
        return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def server() -> Iterator[WebServer]:
    pages = {"/": lambda: Content("text/html", b"\0\xff all bytes\n" * 1000)}
    server = WebServer("127.0.0.1", pages, names=("localhost",), port=0)
    yield server
    server.close()


def test_a_page_comes_through_whole(server: WebServer) -> None:
    with closing(Tunnel(Here(), "127.0.0.1", server.port, 0)) as tunnel:
        for _ in range(2):
            connection = http.client.HTTPConnection("localhost", tunnel.port, timeout=LIMIT)
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"\0\xff all bytes\n" * 1000)
            connection.close()


def test_a_node_that_does_not_answer_ends_the_connection() -> None:
    with closing(Tunnel(Here(), "127.0.0.1", 1, 0)) as tunnel:
        connection = http.client.HTTPConnection("localhost", tunnel.port, timeout=LIMIT)
        connection.request("GET", "/")
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
        connection.close()


def test_a_port_that_is_taken_is_told(server: WebServer) -> None:
    with pytest.raises(ClusterError, match="cannot be used: address already in use") as caught:
        Tunnel(Here(), "127.0.0.1", 1, server.port)
    assert "--port" in caught.value.hint
