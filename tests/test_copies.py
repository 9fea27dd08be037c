# SPDX-License-Identifier: Apache-2.0
"""A role's state follows it: real connections between real holders and keepers, on loopback."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.control.listener import Listener
from agent.copies.adopt import MARKER, adopt
from agent.copies.duty import Duty
from agent.copies.follow import Follower
from agent.copies.followed import Followed
from agent.copies.keeper import Keeper
from agent.copies.link import call
from agent.copies.message import Commit, Fence, Held, Put, Stored
from agent.copies.store import Store
from agent.copies.version import Version
from agent.errors import ClusterError

SECRET = bytes(range(32))
LIMIT = 10.0


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Voter:
    """A keeper at 127.0.0.N."""

    def __init__(self, host: str, port: int, folder: Path) -> None:
        self.host = host
        self.port = port
        self.folder = folder
        self.listener: Listener | None = None
        self.start()

    def start(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((self.host, self.port))
        self.port = listening.getsockname()[1]
        listening.listen(8)
        self.store = Store(self.folder)
        self.listener = Listener(listening, Keeper(self.store, SECRET).serve, name=f"keeper {self.host}")

    def stop(self) -> None:
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def read(self, name: str) -> bytes | None:
        try:
            return (self.folder / "copy" / name).read_bytes()
        except FileNotFoundError:
            return None


class Holder:
    """A machine that holds the role, in a thread."""

    def __init__(self, followed: Followed, hosts: tuple[str, ...]) -> None:
        self.ready = threading.Event()
        self.error: ClusterError | None = None
        self.follower = Follower(followed, hosts, self.ready.set)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.follower.run()
        except ClusterError as error:
            self.error = error

    def wait_ready(self) -> None:
        assert self.ready.wait(LIMIT)

    def stop(self) -> None:
        self.follower.stop()
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()


@pytest.fixture
def voters(tmp_path: Path) -> Iterator[list[Voter]]:
    """Three."""
    made = [Voter("127.0.0.1", 0, tmp_path / "voter1")]
    made += [Voter(f"127.0.0.{n}", made[0].port, tmp_path / f"voter{n}") for n in (2, 3)]
    yield made
    for voter in made:
        voter.stop()


@pytest.fixture
def hosts(voters: list[Voter]) -> tuple[str, ...]:
    return tuple(voter.host for voter in voters)


@pytest.fixture
def first(tmp_path: Path, voters: list[Voter]) -> Followed:
    """What the first machine that holds the role follows."""
    (tmp_path / "machine1").mkdir()
    return Followed(tmp_path / "machine1", ("*.new",), 1, voters[0].port, SECRET)


@pytest.fixture
def second(tmp_path: Path, first: Followed) -> Followed:
    """The next one."""
    (tmp_path / "machine2").mkdir()
    return replace(first, folder=tmp_path / "machine2", epoch=2)


def write(followed: Followed, name: str, content: bytes) -> None:
    """Write as SLURM does: beside, then renamed."""
    path = followed.folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.with_name(path.name + ".new").write_bytes(content)
    path.with_name(path.name + ".new").replace(path)


def test_changes_reach_every_voter_and_the_next_holder(
    voters: list[Voter], hosts: tuple[str, ...], first: Followed, second: Followed
) -> None:
    holder = Holder(first, hosts)
    holder.wait_ready()
    write(first, "hash.1/job.11/script", b"#!/bin/sh\n")
    write(first, "job_state", b"one job")
    write(first, "left.new", b"not finished")
    wait_until(lambda: all(voter.read("job_state") == b"one job" for voter in voters))
    write(first, "job_state", b"two jobs")
    (first.folder / "hash.1/job.11/script").unlink()
    wait_until(
        lambda: all(
            (v.read("job_state"), v.read("hash.1/job.11/script")) == (b"two jobs", None) for v in voters
        )
    )
    assert voters[0].read("left.new") is None
    holder.stop()

    after = Holder(second, hosts)
    after.wait_ready()
    assert (second.folder / "job_state").read_bytes() == b"two jobs"
    assert sorted(p.name for p in second.folder.rglob("*")) == sorted([MARKER, "job_state"])
    after.stop()


def test_what_was_written_while_it_stopped_is_copied(
    voters: list[Voter], hosts: tuple[str, ...], first: Followed
) -> None:
    holder = Holder(first, hosts)
    holder.wait_ready()
    wait_until(lambda: all(voter.store.about.version.epoch == 1 for voter in voters))
    write(first, "job_state", b"the last word")
    holder.stop()
    assert [voter.read("job_state") for voter in voters] == [b"the last word"] * 3


def test_a_voter_that_is_away_holds_up_nobody_and_catches_up(
    voters: list[Voter], hosts: tuple[str, ...], first: Followed
) -> None:
    voters[2].stop()
    holder = Holder(first, hosts)
    holder.wait_ready()
    write(first, "job_state", b"one")
    wait_until(lambda: all(voter.read("job_state") == b"one" for voter in voters[:2]))
    voters[2].start()
    wait_until(lambda: voters[2].read("job_state") == b"one")
    holder.stop()


def test_it_does_not_begin_before_a_majority_answers(
    voters: list[Voter], hosts: tuple[str, ...], first: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    voters[1].stop()
    voters[2].stop()
    holder = Holder(first, hosts)
    wait_until(lambda: "1 of 3 voters answer" in caplog.text)
    assert not holder.ready.is_set()
    voters[1].start()
    holder.wait_ready()
    holder.stop()


def test_a_holder_whose_epoch_is_over_changes_nothing(
    voters: list[Voter], hosts: tuple[str, ...], first: Followed, second: Followed
) -> None:
    before = Holder(first, hosts)
    before.wait_ready()
    write(first, "job_state", b"old")
    wait_until(lambda: all(voter.read("job_state") == b"old" for voter in voters))
    # It goes on, as a machine that was cut off would.
    after = Holder(second, hosts)
    after.wait_ready()
    write(first, "job_state", b"stray")
    write(second, "job_state", b"new")
    wait_until(lambda: all(voter.read("job_state") == b"new" for voter in voters))
    before.stop()
    after.stop()
    assert all(voter.read("job_state") == b"new" for voter in voters)
    # And it cannot begin again under its old lease.
    with pytest.raises(ClusterError, match="epoch 1 is over"):
        adopt(first, hosts, print)


def test_the_last_holder_keeps_what_nobody_else_had(
    hosts: tuple[str, ...], first: Followed, voters: list[Voter]
) -> None:
    holder = Holder(first, hosts)
    holder.wait_ready()
    holder.stop()
    write(first, "job_state", b"only here")
    again = Holder(replace(first, epoch=2), hosts)
    again.wait_ready()
    wait_until(lambda: all(voter.read("job_state") == b"only here" for voter in voters))
    again.stop()


def test_a_holder_from_before_takes_the_copy_in_place_of_what_it_had(
    hosts: tuple[str, ...], first: Followed, second: Followed, voters: list[Voter]
) -> None:
    holder = Holder(first, hosts)
    holder.wait_ready()
    holder.stop()
    write(first, "job_state", b"never left this disk")
    write(first, "hash.1/job.5/script", b"never either")
    after = Holder(second, hosts)
    after.wait_ready()
    write(second, "job_state", b"later")
    wait_until(lambda: all(voter.read("job_state") == b"later" for voter in voters))
    after.stop()
    again = Holder(replace(first, epoch=3), hosts)
    again.wait_ready()
    assert (first.folder / "job_state").read_bytes() == b"later"
    assert not (first.folder / "hash.1").exists()
    again.stop()


def test_a_voter_that_joins_gets_everything(
    hosts: tuple[str, ...], first: Followed, voters: list[Voter]
) -> None:
    holder = Holder(first, hosts[:1])
    holder.wait_ready()
    write(first, "job_state", b"one")
    wait_until(lambda: voters[0].read("job_state") == b"one")
    assert voters[1].read("job_state") is None
    # Under the same lease: the program is started anew when the voters change.
    holder.stop()
    holder = Holder(first, hosts)
    wait_until(lambda: all(voter.read("job_state") == b"one" for voter in voters))
    holder.stop()


def test_who_does_not_know_the_secret_is_not_heard(voters: list[Voter], first: Followed) -> None:
    with pytest.raises(ClusterError):
        call(voters[0].host, first.port, b"another secret, just as long")
    with socket.create_connection((voters[0].host, first.port)) as stranger:
        stranger.settimeout(LIMIT)
        assert len(stranger.recv(100)) == 40
        stranger.sendall(b"x" * 64)
        assert stranger.recv(1) == b""
    assert voters[0].store.about.fenced == 0


def test_garbage_of_who_knows_the_secret_ends_the_connection_and_no_more(
    voters: list[Voter], first: Followed
) -> None:
    for garbage in (b"no json\n", b"{}\n", b"[" * 9000, b'{"do":"put","name":"../x","mode":0,"bytes":1}\nx'):
        link = call(voters[0].host, first.port, SECRET)
        link.give(garbage)
        with pytest.raises((ClusterError, OSError)):
            link.take(1)
        link.close()
    link = call(voters[0].host, first.port, SECRET)
    link.say(Fence(1))
    assert link.expect(Held) == Held(Version(0, 0), 1)
    link.close()


def test_a_change_that_breaks_off_is_no_change(voters: list[Voter], first: Followed) -> None:
    voter = voters[0]
    link = call(voter.host, first.port, SECRET)
    link.say(Put("job_state", 0o600, 4))
    link.give(b"good")
    link.say(Commit(Version(1, 1), None))
    assert link.expect(Stored).taken
    link.say(Put("job_state", 0o600, 100))
    link.give(b"half")
    link.close()
    wait_until(lambda: not list((voter.folder / "incoming").iterdir()))
    assert voter.read("job_state") == b"good"
    # Nor is one that builds on something else than what there is.
    link = call(voter.host, first.port, SECRET)
    link.say(Commit(Version(1, 3), Version(1, 2)))
    assert link.expect(Stored) == Stored(taken=False, held=Version(1, 1))
    link.close()


def test_what_a_keeper_knows_survives_it(voters: list[Voter], first: Followed, tmp_path: Path) -> None:
    voters[0].store.fence(7)
    assert Store(tmp_path / "voter1").about == voters[0].store.about
    (tmp_path / "voter1/about.json").write_bytes(b"\0" * 40)
    assert Store(tmp_path / "voter1").about.version == Version(0, 0)


def test_what_is_wanted_is_followed_as_long_as_it_is_wanted(
    voters: list[Voter], hosts: tuple[str, ...], first: Followed, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "ready").write_text("0\n")
    duty = Duty(run, first, hosts)
    thread = threading.Thread(target=duty.run, daemon=True)
    thread.start()
    wait_until(lambda: not (run / "ready").exists())
    (run / "wanted").write_text("4\n")
    wait_until(lambda: (run / "ready").exists() and (run / "ready").read_text() == "4\n")
    write(first, "job_state", b"in epoch 4")
    (run / "wanted").unlink()
    wait_until(lambda: not (run / "ready").exists())
    assert [voter.read("job_state") for voter in voters] == [b"in epoch 4"] * 3
    # An epoch that is over is never ready.
    (run / "wanted").write_text("3\n")
    wait_until(lambda: "epoch 3" in {thread.name for thread in threading.enumerate()})
    wait_until(lambda: "epoch 3" not in {thread.name for thread in threading.enumerate()})
    assert not (run / "ready").exists()
    duty.stop()
    thread.join(LIMIT)
    assert not thread.is_alive()
