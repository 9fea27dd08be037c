# SPDX-License-Identifier: Apache-2.0
"""A role is told when what it knew is saved and copied: the rule, and the answer over varlink."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.control.listener import Listener
from agent.copies.follow import Follower
from agent.copies.followed import Followed
from agent.copies.keeper import Keeper
from agent.copies.saves import Saves, is_saved
from agent.copies.settling import METHOD, Settling, listen
from agent.copies.store import Store
from image.toolstree import ToolsTree

SECRET = bytes(range(32))
LIMIT = 10.0


@pytest.mark.parametrize(
    ("begun", "done", "saved"),
    [
        ((), None, False),
        # The save that had begun before may not have it.
        ((99.9, 99.0), 100.2, False),
        ((100.1, 99.0), None, False),
        ((100.1, 99.0), 99.8, False),
        ((100.1, 99.0), 100.2, True),
        # A next one has begun: its file is waited for.
        ((101.1, 99.9), 100.2, False),
        # A next one has begun, or found nothing to save: what it had before is enough.
        ((101.1, 100.1), 100.9, True),
        ((101.1, 100.1), 100.0, False),
        # However long ago: somebody is going to have it saved.
        ((99.0, 98.0), 99.2, False),
    ],
)
def test_what_was_so_at_100_is_saved(begun: tuple[float, ...], done: float | None, saved: bool) -> None:
    assert is_saved(100.0, begun, done) is saved


class Role:
    """One that follows its state to three voters, and that saves when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.state, self.saving = folder / "state", folder / "saving"
        self.state.mkdir()
        first = socket.create_server(("127.0.0.1", 0))
        port = first.getsockname()[1]
        sockets = [first, *(socket.create_server((f"127.0.0.{n}", port)) for n in (2, 3))]
        self.folders = [folder / f"voter{n}" for n in (1, 2, 3)]
        self.listeners = [
            Listener(each, Keeper(Store(place), SECRET).serve, name=place.name)
            for each, place in zip(sockets, self.folders, strict=True)
        ]
        ready = threading.Event()
        saves = Saves(str(self.saving), "job_state")
        followed = Followed(self.state, (), 1, port, SECRET, saves)
        self.follower = Follower(followed, ("127.0.0.1", "127.0.0.2", "127.0.0.3"), ready.set)
        self.thread = threading.Thread(target=self.follower.run, daemon=True)
        self.thread.start()
        assert ready.wait(LIMIT)

    def save(self, content: bytes) -> None:
        self.saving.touch()
        (self.state / "new").write_bytes(content)
        (self.state / "new").replace(self.state / "job_state")

    def copies(self) -> list[bytes]:
        paths = [folder / "copy/job_state" for folder in self.folders]
        return [path.read_bytes() if path.exists() else b"" for path in paths]

    def cut(self, voter: int) -> None:
        """Have a voter that has all take no more."""
        assert self.follower._senders[voter - 1].wait_even(time.monotonic() + LIMIT)
        self.listeners[voter - 1].close()
        link = self.follower._senders[voter - 1]._link
        if link is not None:
            link.close()

    def end(self) -> None:
        self.follower.stop()
        self.thread.join(LIMIT)
        for listener in self.listeners:
            listener.close()
        assert not self.thread.is_alive()


@pytest.fixture
def role(tmp_path: Path) -> Iterator[Role]:
    made = Role(tmp_path)
    yield made
    made.end()


def now() -> float:
    # File times are those of the last tick of the kernel's clock.
    found = time.clock_gettime(time.CLOCK_BOOTTIME)
    time.sleep(0.02)
    return found


def test_what_is_saved_later_settles_when_most_voters_have_it(role: Role) -> None:
    role.save(b"before")
    since = now()
    told: list[bool] = []
    waiting = threading.Thread(target=lambda: told.append(role.follower.settle(since, LIMIT)))
    waiting.start()
    waiting.join(0.5)
    assert told == []
    role.cut(3)
    role.save(b"after")
    waiting.join(LIMIT)
    assert told == [True]
    assert role.copies().count(b"after") >= 2


def test_without_most_voters_nothing_settles(role: Role) -> None:
    since = now()
    role.save(b"before")
    assert role.follower.settle(since, LIMIT)
    role.cut(2)
    role.cut(3)
    since = now()
    role.save(b"alone")
    assert role.follower.settle(since, 1.0) is False
    assert role.copies()[0] == b"alone"


def test_the_end_of_the_lease_ends_the_wait(role: Role) -> None:
    since = now()
    told: list[bool] = []
    waiting = threading.Thread(target=lambda: told.append(role.follower.settle(since, 60.0)))
    waiting.start()
    role.follower.stop()
    waiting.join(LIMIT)
    assert told == [False]


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[list[float]]:
    """The times that were asked for at `tmp_path`/settle, where the answer is no for 0."""
    found: list[float] = []

    def settle(since: float, _patience: float) -> bool:
        found.append(since)
        return since > 0

    listener = Listener(listen(tmp_path / "settle"), Settling(settle).serve, name="settle")
    yield found
    listener.close()


def call(path: Path, data: bytes) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        connection.connect(str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.endswith(b"\0")
    found: dict[str, object] = json.loads(answer[:-1])
    return found


def test_varlinkctl_is_answered(tmp_path: Path, asked: list[float], tools: ToolsTree) -> None:
    argv = ["varlinkctl", "call", f"unix:{tmp_path}/settle", METHOD]
    for since, settled in ((81234, True), (0, False)):
        done = subprocess.run(
            tools.command([*argv, json.dumps({"since": since})]), capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == {"settled": settled}
    assert asked == [81.234, 0.0]
    assert (tmp_path / "settle").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{\0",
        b"[]\0",
        b"[" * 4000 + b"\0",
        b'{"method":"other"}\0',
        json.dumps({"method": METHOD}).encode() + b"\0",
        json.dumps({"method": METHOD, "parameters": {"since": -1}}).encode() + b"\0",
        json.dumps({"method": METHOD, "parameters": {"since": 1.5}}).encode() + b"\0",
        json.dumps({"method": METHOD, "parameters": {"since": 1, "more": 2}}).encode() + b"\0",
        b"x" * 4097,
    ],
)
def test_what_is_no_call_is_refused(tmp_path: Path, asked: list[float], data: bytes) -> None:
    assert str(call(tmp_path / "settle", data)["error"]).startswith("org.varlink.service.")
    assert asked == []


@given(data=st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    answer = Settling(lambda *_: True)._answer(data)
    assert "error" in answer
