# SPDX-License-Identifier: Apache-2.0
"""The control socket with real clients: good ones, garbage, slow ones, and those that go away."""

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.control import listener, server
from agent.control.client import NotRunningError, ask
from agent.control.protocol import MAX_ANSWER, MAX_REQUEST
from agent.control.server import ControlServer
from agent.errors import ClusterError
from tests.example_status import NODES
from tests.otheruser import NOBODY, do_as_other_user

LIMIT = 20.0  # seconds for anything here


class Agent:
    """Something that answers: keeps what it was asked, and can be made to wait."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], int]] = []
        self.go_on = threading.Event()

    def handle(self, request: dict[str, Any], uid: int) -> dict[str, Any]:
        self.asked.append((request, uid))
        match request["request"]:
            case "approve":
                raise ClusterError("no such node", hint="see: node-agent members")
            case "leave":
                raise ZeroDivisionError
            case "support":
                return {"files": {"big": "x" * MAX_ANSWER}}
            case "reload":
                assert self.go_on.wait(LIMIT)
            case "token":
                return {"expires": object()}
        return {"sentence": "done"}


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def path(tmp_path: Path, agent: Agent) -> Iterator[Path]:
    path = tmp_path / "agent.sock"
    running = ControlServer(path, agent.handle)
    yield path
    agent.go_on.set()
    running.close()


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(LIMIT)
    connection.connect(str(path))
    return connection


def test_a_request_reaches_the_agent_with_the_user_who_asks(path: Path, agent: Agent) -> None:
    assert ask(path, {"request": "remove", "node": NODES[0]}) == {"sentence": "done"}
    assert agent.asked == [({"request": "remove", "node": NODES[0]}, os.geteuid())]


def test_the_agents_error_is_the_clients_error(path: Path) -> None:
    with pytest.raises(ClusterError) as caught:
        ask(path, {"request": "approve", "node": NODES[0]})
    assert (caught.value.message, caught.value.hint) == ("no such node", "see: node-agent members")


@pytest.mark.parametrize("request_", [{"request": "leave"}, {"request": "token", "ttl": 60}])
def test_a_bug_in_the_agent_is_told_and_does_not_end_it(path: Path, request_: dict[str, Any]) -> None:
    with pytest.raises(ClusterError, match="the agent failed to answer"):
        ask(path, request_)
    assert ask(path, {"request": "status"}) == {"sentence": "done"}


def test_an_answer_that_is_too_long_is_an_error(path: Path) -> None:
    with pytest.raises(ClusterError, match="the answer is longer than 4194304 bytes"):
        ask(path, {"request": "support"})


def test_the_socket_is_closed_to_others(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_other_users_are_refused_even_where_the_socket_is_open_to_them(
    tmp_path: Path, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says who connects, not the client."""
    path = tmp_path / "agent.sock"
    if os.geteuid() != 0:
        # Then nobody here can become somebody else, but the agent can be.
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    running = ControlServer(path, agent.handle)
    monkeypatch.undo()

    def leave() -> bytes:
        with connect(Path(path.name)) as connection:
            connection.sendall(b'{"request": "leave"}\n')
            return connection.makefile("rb").readline()

    try:
        path.chmod(0o666)
        tmp_path.chmod(0o755)
        answer = do_as_other_user(tmp_path, leave)
    finally:
        running.close()
    assert json.loads(answer) == {"ok": False, "error": "only root may ask the agent", "hint": "run as root"}
    assert agent.asked == []


def test_a_slow_request_does_not_hold_up_the_others(path: Path, agent: Agent) -> None:
    slow = threading.Thread(target=ask, args=(path, {"request": "reload"}))
    slow.start()
    assert ask(path, {"request": "status"}) == {"sentence": "done"}
    agent.go_on.set()
    slow.join(LIMIT)
    assert not slow.is_alive()


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"\0\xff\n",
        b"null\n",
        b"[" * 100_000 + b"\n",
        b'{"request": "status"',
        b'{"request": "explode"}\n',
        b"x" * (MAX_REQUEST + 1),
    ],
)
def test_garbage_is_answered_with_an_error(path: Path, agent: Agent, line: bytes) -> None:
    with connect(path) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(connection.makefile().readline())
    assert answer["ok"] is False
    assert agent.asked == []
    assert ask(path, {"request": "status"}) == {"sentence": "done"}


def test_clients_that_vanish_do_no_harm(path: Path) -> None:
    for data in (b"", b'{"request"', b'{"request": "status"}\n', b'{"request": "support"}\n'):
        for _ in range(listener.CONNECTIONS):
            with connect(path) as connection:
                connection.sendall(data)
    assert ask(path, {"request": "status"}) == {"sentence": "done"}


def test_clients_that_say_nothing_are_dropped_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "READ_LIMIT", 0.2)
    silent = [connect(path) for _ in range(2 * listener.CONNECTIONS)]
    assert ask(path, {"request": "status"}, time_limit=LIMIT) == {"sentence": "done"}
    for connection in silent:
        assert connection.recv(1) == b""
        connection.close()


def test_a_client_that_takes_no_answer_is_dropped_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SEND_LIMIT", 0.2)
    running = ControlServer(tmp_path / "agent.sock", lambda request, uid: {"x": "x" * (MAX_ANSWER // 2)})
    with connect(tmp_path / "agent.sock") as deaf:
        deaf.sendall(b'{"request": "support"}\n')
        received = deaf.recv(1)
        running.close()
        for thread in threading.enumerate():
            if thread.name == "control":
                thread.join(LIMIT)
        while part := deaf.recv(65536):
            received += part
    assert len(received) < MAX_ANSWER // 2


def test_without_an_agent_the_error_says_how_to_see_why(tmp_path: Path) -> None:
    nothing, stale = tmp_path / "nothing.sock", tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    for path in (nothing, stale):
        with pytest.raises(NotRunningError, match="the agent is not running") as caught:
            ask(path, {"request": "status"})
        assert "journalctl -b -u clusteros-agent" in caught.value.hint


def test_an_agent_that_hangs_is_told_from_one_that_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()
        with pytest.raises(ClusterError, match=r"the agent gave no answer in 0\.1 s"):
            ask(path, {"request": "status"}, time_limit=0.1)


def test_a_socket_that_a_killed_agent_left_is_replaced(tmp_path: Path, agent: Agent) -> None:
    path = tmp_path / "agent.sock"
    for name in (path, tmp_path / ".agent.sock.new"):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(name))
    running = ControlServer(path, agent.handle)
    assert ask(path, {"request": "status"}) == {"sentence": "done"}
    running.close()
    assert list(tmp_path.iterdir()) == []


def test_a_second_agent_is_refused_and_the_first_goes_on(path: Path, agent: Agent) -> None:
    with pytest.raises(ClusterError, match="another agent is running"):
        ControlServer(path, agent.handle)
    assert ask(path, {"request": "status"}) == {"sentence": "done"}


@pytest.mark.parametrize("name", ["no-such-folder/agent.sock", "x" * 120])
def test_a_socket_that_cannot_be_made_is_named(tmp_path: Path, agent: Agent, name: str) -> None:
    with pytest.raises(ClusterError, match="cannot make the control socket"):
        ControlServer(tmp_path / name, agent.handle)
