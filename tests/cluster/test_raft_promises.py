# SPDX-License-Identifier: Apache-2.0
"""What a voter promises is on its disk before it says so. The test leads, the voter is a real one."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.election import message, storage
from agent.election.channel import Channel
from agent.election.engine import Engine
from agent.election.journal import Journal
from agent.election.message import Message
from agent.election.network import Link
from agent.election.pending import Commit
from agent.election.timing import Timing
from tests.cluster.raft_cluster import LIMIT, PASSWORD, wait_for
from tests.cluster.raft_node import MACHINE, State, encode

LEADER, FOLLOWER, THIRD = (f"127.0.0.{number}" for number in (2, 1, 3))
QUIET = 0.3  # seconds in which an answer that was sent would have come, on one machine
NEVER = Timing(election=30.0, step_down=30.0, hang_up=30.0)


class Disk:
    """Lets fdatasync through, or holds it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._free = threading.Event()
        self._free.set()
        self.held = threading.Event()
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._force)

    def hold(self) -> None:
        self.held.clear()
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def _force(self, fd: int) -> None:
        if not self._free.is_set():
            self.held.set()
        assert self._free.wait(LIMIT)
        self._real(fd)


class Leader:
    """Speaks to the voter under test as PySyncObj's leader would."""

    def __init__(self, port: int, source: str = LEADER, name: str = LEADER) -> None:
        self._socket = socket.create_connection((FOLLOWER, port), LIMIT, (source, 0))
        self._channel = Channel(PASSWORD, client=True, nonce=os.urandom(32), name=f"voter {name}:{port}")
        self._waiting: list[bytes] = []
        self._flush()
        while self._channel.peer is None:
            self._read()

    def say(self, **content: object) -> None:
        self._channel.send(message.encode(content))
        self._flush()

    def hear(self, kind: str, limit: float = LIMIT) -> Message | None:
        """Return the next message of a kind; None when the voter says nothing for `limit` seconds."""
        self._socket.settimeout(limit)
        with suppress(TimeoutError):
            while True:
                while self._waiting:
                    found = message.decode(self._waiting.pop(0))
                    if found["type"] == kind:
                        return found
                self._read()
        return None

    def end(self) -> None:
        self._socket.close()

    def closed(self) -> bool:
        self._socket.settimeout(LIMIT)
        try:
            while self._socket.recv(4096):
                pass
        except ConnectionError:
            pass
        return True

    def _read(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError
        self._waiting += self._channel.received(data)
        self._flush()

    def _flush(self) -> None:
        self._socket.sendall(self._channel.outgoing)
        self._channel.outgoing.clear()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


Voter = Callable[..., Engine[State]]


@pytest.fixture
def voter(tmp_path: Path, port: int, disk: Disk) -> Iterator[Voter]:
    running: list[tuple[Engine[State], threading.Thread]] = []

    def start(*voters: str, timing: Timing = NEVER) -> Engine[State]:
        if not storage.exists(tmp_path / "raft"):
            storage.found(tmp_path / "raft", encode(()), tuple(f"{host}:{port}" for host in voters))
        engine = Engine(
            MACHINE,
            Link(f"{FOLLOWER}:{port}", True, PASSWORD),
            timing,
            folder=tmp_path / "raft",
            fresh=False,
            changed=lambda: None,
            clock=time.monotonic,
        )
        thread = threading.Thread(target=engine.run)
        thread.start()
        running.append((engine, thread))
        return engine

    yield start
    disk.release()
    for engine, thread in running:
        engine.stop()
        thread.join()


def words(engine: Engine[State]) -> list[str]:
    assert engine.applied is not None
    return list(engine.applied.state)


def entries(*words: str, first: int = 4, term: int = 5) -> list[list[object]]:
    return [[b"\0" + word.encode(), index, term] for index, word in enumerate(words, first)]


def append(words: list[list[object]], index: int = 3, term: int = 1, commit: int = 3) -> dict[str, object]:
    return {
        "type": "append_entries",
        "term": 5,
        "commit_index": commit,
        "entries": words,
        "prevLogIdx": index,
        "prevLogTerm": term,
    }


def test_entries_are_acknowledged_only_when_the_disk_has_them(
    voter: Voter, disk: Disk, port: int, tmp_path: Path
) -> None:
    voter(FOLLOWER, LEADER, THIRD)
    leader = Leader(port)
    leader.say(**append([]))
    assert leader.hear("next_node_idx")
    disk.hold()
    leader.say(**append(entries("one", "two")))
    assert disk.held.wait(LIMIT)
    assert leader.hear("next_node_idx", QUIET) is None
    disk.release()
    answer = leader.hear("next_node_idx")
    assert answer is not None
    assert (answer["success"], answer["next_node_idx"], answer["term"]) == (True, 6, 5)
    copy = tmp_path / "copy"
    copy.write_bytes((tmp_path / "raft/journal").read_bytes())
    assert [index for _, index, _ in Journal(copy).entries] == [2, 3, 4, 5]


def test_a_vote_is_given_only_when_the_disk_has_it_and_once_in_a_term_also_after_a_crash(
    voter: Voter, disk: Disk, port: int
) -> None:
    engine = voter(FOLLOWER, LEADER, THIRD)
    candidate = Leader(port)
    disk.hold()
    vote = {"type": "request_vote", "term": 7, "last_log_index": 9, "last_log_term": 5}
    candidate.say(**vote)
    assert disk.held.wait(LIMIT)
    assert candidate.hear("response_vote", QUIET) is None
    disk.release()
    assert candidate.hear("response_vote") == {"type": "response_vote", "term": 7}
    engine.stop()
    wait_for("the end", lambda: engine.view.role == "off")
    voter(FOLLOWER, LEADER, THIRD)
    other = Leader(port, THIRD, THIRD)
    other.say(**vote)
    assert other.hear("response_vote", QUIET) is None
    other.say(**vote | {"term": 8})
    assert other.hear("response_vote") == {"type": "response_vote", "term": 8}


def test_a_candidate_asks_for_votes_only_when_the_disk_has_its_own(
    voter: Voter, disk: Disk, port: int, tmp_path: Path
) -> None:
    voter(FOLLOWER, LEADER, THIRD, timing=Timing(election=0.8))
    other = Leader(port)
    disk.hold()
    assert disk.held.wait(LIMIT)
    assert other.hear("request_vote", QUIET) is None
    disk.release()
    asked = other.hear("request_vote")
    assert asked is not None
    copy = tmp_path / "copy"
    copy.write_bytes((tmp_path / "raft/journal").read_bytes())
    journal = Journal(copy)
    assert journal.getCurrentTerm() >= asked["term"]
    assert journal.getVotedForNodeId() == f"{FOLLOWER}:{port}"


def test_a_lone_voter_commits_only_what_the_disk_has(voter: Voter, disk: Disk) -> None:
    engine = voter(FOLLOWER, timing=Timing())
    wait_for("it leads", lambda: engine.view.role == "leader" and engine.view.ready)
    told = threading.Event()
    disk.hold()
    engine.commit(Commit(b"word", lambda *_: told.set(), time.monotonic() + LIMIT))
    assert disk.held.wait(LIMIT)
    assert not told.wait(QUIET)
    assert words(engine) == []
    disk.release()
    assert told.wait(LIMIT)
    assert words(engine) == ["word"]


def test_what_is_sent_twice_stays_acknowledged(voter: Voter, port: int, tmp_path: Path) -> None:
    voter(FOLLOWER, LEADER, THIRD)
    leader = Leader(port)
    for words in (entries("one", "two", "three"), entries("one")):
        leader.say(**append(words))
        answer = leader.hear("next_node_idx")
        assert answer is not None
        assert answer["next_node_idx"] == 4 + len(words)
    copy = tmp_path / "copy"
    copy.write_bytes((tmp_path / "raft/journal").read_bytes())
    assert [index for _, index, _ in Journal(copy).entries] == [2, 3, 4, 5, 6]


def test_an_answer_of_an_earlier_term_does_not_count(voter: Voter, port: int) -> None:
    engine = voter(FOLLOWER, LEADER, timing=Timing(heartbeat=0.1, election=0.5))
    follower = Leader(port)
    asked = follower.hear("request_vote")
    assert asked is not None
    follower.say(type="response_vote", term=asked["term"])
    wait_for("it leads", lambda: engine.view.role == "leader")
    late = {"type": "next_node_idx", "next_node_idx": 99, "reset": False, "success": True}
    follower.say(**late, term=asked["term"] - 1)
    # Its answer says that what came before it has been read; two heartbeats, that it had its effect.
    follower.say(type="apply_command", command=b"\0word", request_id=1)
    assert follower.hear("apply_command_response") is not None
    assert follower.hear("append_entries")
    assert follower.hear("append_entries")
    assert not engine.view.ready
    follower.say(**late | {"next_node_idx": 5, "term": asked["term"]})
    wait_for("its first entry is committed", lambda: engine.view.ready)


def test_nobody_is_heard_under_the_name_of_another(voter: Voter, port: int) -> None:
    voter(FOLLOWER, LEADER, THIRD)
    for source, name in ((THIRD, LEADER), (LEADER, FOLLOWER), (FOLLOWER, FOLLOWER)):
        with suppress(ConnectionError):
            assert Leader(port, source, name).closed()
    assert not Leader(port).hear("next_node_idx", QUIET)


def test_who_has_no_vote_neither_leads_nor_elects(voter: Voter, port: int) -> None:
    engine = voter(FOLLOWER, LEADER, THIRD)
    stranger = Leader(port, "127.0.0.9", "127.0.0.9")
    stranger.say(type="request_vote", term=90, last_log_index=99, last_log_term=80)
    stranger.say(type="next_node_idx", next_node_idx=99, reset=True, success=True, term=1)
    stranger.say(**append(entries("one")))
    assert stranger.hear("next_node_idx", QUIET) is None
    assert engine.numbers[0] == 1
    leader = Leader(port)
    leader.say(**append([]))
    assert leader.hear("next_node_idx") is not None


def test_a_message_that_makes_no_sense_ends_the_connection_and_nothing_else(voter: Voter, port: int) -> None:
    engine = voter(FOLLOWER, LEADER, THIRD)
    for wrong in (
        {"type": "append_entries", "term": 5},
        {"type": "status"},
        append(entries("one"), index=7),
        append([[b"\2add everybody", 4, 5]]),
        {"type": "append_entries", "term": 5, "commit_index": 3, "transmission": "finish", "data": b"cos\nx"},
    ):
        leader = Leader(port)
        leader.say(**wrong)
        assert leader.closed()
    assert engine.view.role == "follower"
    leader = Leader(port)
    leader.say(**append(entries("one")))
    assert leader.hear("next_node_idx") is not None


def test_an_error_of_the_disk_ends_the_voter_and_it_says_nothing_any_more(
    voter: Voter, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = voter(FOLLOWER, LEADER, THIRD)
    leader = Leader(port)
    leader.say(**append([]))
    assert leader.hear("next_node_idx")

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    leader.say(**append(entries("one")))
    with pytest.raises(ConnectionError):
        leader.hear("next_node_idx")
    fault = wait_for("the fault", lambda: engine.fault)
    assert "input/output error" in fault.message
