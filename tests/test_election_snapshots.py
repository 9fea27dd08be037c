# SPDX-License-Identifier: Apache-2.0
"""Snapshots on their way between replicas: whole and good, or not taken."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.election import snapshot_format
from agent.election.interfaces import DONE, FAILED, IDLE, Node
from agent.election.message import CHUNK
from agent.election.snapshot_format import Snapshot
from agent.election.snapshots import Snapshots
from agent.errors import ClusterError

VOTERS = ("10.0.0.1:7950", "10.0.0.2:7950")


@dataclass
class Peer:
    id: str = "10.0.0.2:7950"


@dataclass
class Owner:
    state: bytes = b"state"
    refuses: bool = False
    taken: list[Snapshot] = field(default_factory=list)

    def take(self) -> tuple[Iterable[str], bytes]:
        return VOTERS, self.state

    def put(self, snapshot: Snapshot) -> list[Node]:
        self.taken.append(snapshot)
        return []

    def check(self, snapshot: Snapshot) -> None:
        if self.refuses:
            raise ClusterError("it is older")


def make(owner: Owner, path: Path | None = None, newest: Snapshot | None = None) -> Snapshots:
    return Snapshots(path, newest, take=owner.take, put=owner.put, check=owner.check)


def snapshot(state: bytes = b"state", index: int = 5) -> Snapshot:
    return Snapshot((b"\x01", index - 1, 1), (b"\x01", index, 1), VOTERS, state)


def carry(source: Snapshots, target: Snapshots) -> bool:
    while True:
        part = source.getTransmissionData(Peer())
        assert part is not None
        taken = target.setTransmissionData(part)
        if part[2]:
            return taken


def test_a_snapshot_is_on_the_disk_before_the_log_may_be_cut(tmp_path: Path) -> None:
    snapshots = make(Owner(), tmp_path / "snapshot")
    assert snapshots.checkSerializing() == (IDLE, None)
    snapshots.serialize((None, (b"\x01", 5, 1), (b"\x01", 4, 1), None), 4)
    assert snapshot_format.decode((tmp_path / "snapshot").read_bytes(), "it") == snapshot()
    assert snapshots.checkSerializing() == (DONE, 4)
    assert snapshots.checkSerializing() == (IDLE, None)


def test_a_snapshot_that_cannot_be_written_is_told_and_leaves_the_old_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots = make(Owner(), tmp_path / "missing/snapshot", snapshot(b"old", 3))
    snapshots.serialize((None, (b"\x01", 5, 1), (b"\x01", 4, 1), None), 4)
    assert snapshots.checkSerializing() == (FAILED, 4)
    assert "no Raft snapshot was taken" in caplog.text
    assert snapshots.newest == snapshot(b"old", 3)


@given(size=st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK * 2 + 17]))
def test_a_snapshot_arrives_as_it_was(size: int) -> None:
    owner = Owner()
    source, target = make(Owner(), None, snapshot(bytes(size))), make(owner)
    assert carry(source, target)
    target.deserialize()
    assert owner.taken == [snapshot(bytes(size))]


def test_what_begins_a_log_at_the_leader_begins_none_elsewhere() -> None:
    target = make(Owner())
    begin = Snapshot((b"\x01", 4, 1), (b"\x01", 5, 1), VOTERS, b"state", begins=True)
    assert carry(make(Owner(), None, begin), target)
    assert target.newest == snapshot()


def test_a_damaged_or_unwanted_snapshot_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = snapshot_format.encode(snapshot())
    target = make(Owner(), tmp_path / "snapshot")
    assert not target.setTransmissionData((good[:-1] + b"x", True, False))
    assert not target.setTransmissionData((b"", False, True))
    assert "what the leader sent: the Raft snapshot is damaged" in caplog.text
    assert not carry(make(Owner(), None, snapshot()), make(Owner(refuses=True), tmp_path / "snapshot"))
    assert "it is older" in caplog.text
    assert not (tmp_path / "snapshot").exists()


def test_parts_without_a_beginning_and_without_an_end_cost_a_bounded_amount(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.election.snapshots.MAX_BYTES", 1000)
    target = make(Owner())
    assert not target.setTransmissionData(None)
    for _ in range(50):
        assert not target.setTransmissionData((bytes(100), False, False))
        assert len(target._incoming) <= 1000


def test_who_is_half_way_through_an_old_snapshot_begins_anew() -> None:
    source = make(Owner(state=b"new"), None, snapshot(bytes(CHUNK * 2)))
    assert source.getTransmissionData(Peer()) is not None
    source.serialize((None, (b"\x01", 9, 1), (b"\x01", 8, 1), None), 8)
    part = source.getTransmissionData(Peer())
    assert part is not None
    assert part[1]
    source.cancelTransmisstion(Peer())
    again = source.getTransmissionData(Peer())
    assert again is not None
    assert again[1]


def test_without_a_snapshot_there_is_nothing_to_send() -> None:
    assert make(Owner()).getTransmissionData(Peer()) is None
