# SPDX-License-Identifier: Apache-2.0
"""What a voter keeps of Raft: founded once, damaged never used, forgotten never replaced by nothing."""

import hashlib
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import files
from agent.election import snapshot_format, storage
from agent.election.journal import Journal
from agent.election.journal_format import Contents
from agent.election.snapshot_format import Snapshot
from agent.election.storage import Stored, exists, found, open_stored, recover
from agent.errors import ClusterError

A, B, C, D = (f"10.0.0.{number}:7950" for number in range(1, 5))


def reopen(folder: Path, *, fresh: bool = False) -> Stored:
    stored = open_stored(folder, fresh=fresh)
    stored.journal._destroy()
    return stored


def founded(folder: Path) -> Stored:
    found(folder, b"state", (C, A, B))
    return open_stored(folder, fresh=False)


def write(folder: Path, snapshot: Snapshot) -> None:
    files.replace(folder / "snapshot", snapshot_format.encode(snapshot), mode=0o600)


def test_founders_begin_with_the_same_log(tmp_path: Path) -> None:
    for name in ("one", "two"):
        found(tmp_path / name, b"state", (C, A, B))
    assert (tmp_path / "one/snapshot").read_bytes() == (tmp_path / "two/snapshot").read_bytes()
    stored = reopen(tmp_path / "one")
    assert stored.snapshot is not None
    assert stored.snapshot.state == b"state"
    assert stored.voters == frozenset({A, B, C})
    # Behind what an empty node has, so that it asks for the state.
    assert stored.journal.entries[0][1] > 1


def test_a_cluster_is_not_founded_twice(tmp_path: Path) -> None:
    found(tmp_path / "raft", b"state", (A,))
    with pytest.raises(ClusterError, match="holds the log of a cluster already"):
        found(tmp_path / "raft", b"other", (A,))


def test_files_of_raft_are_closed_to_others(tmp_path: Path) -> None:
    stored = founded(tmp_path / "raft")
    stored.journal._destroy()
    assert (tmp_path / "raft").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "raft").iterdir()} == {0o600}


def test_a_start_that_was_interrupted_while_founding_is_completed(tmp_path: Path) -> None:
    folder = tmp_path / "raft"
    found(folder, b"state", (A,))
    # The journal is there already, the snapshot still says that a log begins.
    before = (folder / "snapshot").read_bytes()
    reopen(folder)
    (folder / "snapshot").write_bytes(before)
    assert reopen(folder).voters == frozenset({A})
    assert not snapshot_format.decode((folder / "snapshot").read_bytes(), "it").begins


def test_a_voter_that_lost_its_journal_does_not_begin_with_an_empty_one(tmp_path: Path) -> None:
    stored = founded(tmp_path)
    stored.journal._destroy()
    (tmp_path / "journal").unlink()
    with pytest.raises(ClusterError, match="journal is missing, and this node has a vote"):
        open_stored(tmp_path, fresh=False)
    (tmp_path / "snapshot").unlink()
    with pytest.raises(ClusterError, match="journal is missing, and this node has a vote"):
        open_stored(tmp_path, fresh=False)
    assert not exists(tmp_path)


def test_a_snapshot_that_is_missing_is_told(tmp_path: Path) -> None:
    stored = founded(tmp_path)
    stored.journal._destroy()
    (tmp_path / "snapshot").unlink()
    with pytest.raises(ClusterError, match="snapshot is missing"):
        open_stored(tmp_path, fresh=False)


def test_a_new_voter_begins_empty_but_knows_how_it_voted(tmp_path: Path) -> None:
    stored = founded(tmp_path)
    stored.journal.setCurrentTerm(7, B)
    stored.journal._destroy()
    for _ in range(2):
        again = reopen(tmp_path, fresh=True)
        assert again.snapshot is None
        assert again.voters is None
        assert [(index, term) for _, index, term in again.journal.entries] == [(1, 0)]
        assert (again.journal.getCurrentTerm(), again.journal.getVotedForNodeId()) == (7, B)


def test_who_votes_follows_from_snapshot_and_journal(tmp_path: Path) -> None:
    stored = founded(tmp_path)
    stored.journal.add(b"\x02add " + D.encode(), 4, 1)
    stored.journal.add(b"\x02rem " + A.encode(), 5, 1)
    stored.journal._destroy()
    assert reopen(tmp_path).voters == frozenset({B, C, D})
    assert stored.snapshot is not None
    assert storage.voters_at(stored.snapshot, stored.journal, 4) == {A, B, C, D}


def long_journal(folder: Path) -> Stored:
    stored = founded(folder)
    for index in range(4, 10):
        stored.journal.add(b"\x00%d" % index, index, 1)
    stored.journal.setCurrentTerm(2, None)
    stored.journal._destroy()
    assert stored.snapshot is not None
    return stored


def test_acknowledged_entries_behind_a_new_snapshot_stay_when_the_power_went_before_the_journal_was_cut(
    tmp_path: Path,
) -> None:
    entries = long_journal(tmp_path).journal.entries
    write(tmp_path, Snapshot(entries[3], entries[4], (A, B, C), b"later"))
    again = reopen(tmp_path)
    assert again.journal.entries == entries[3:]
    assert reopen(tmp_path).journal.entries == entries[3:]


@pytest.mark.parametrize(("index", "term"), [(20, 3), (8, 3)])
def test_a_journal_that_the_leaders_snapshot_replaced_gives_way(
    index: int, term: int, tmp_path: Path
) -> None:
    long_journal(tmp_path)
    last, previous = (b"\x00x", index, term), (b"\x00y", index - 1, term)
    write(tmp_path, Snapshot(previous, last, (A, B, C), b"later"))
    again = reopen(tmp_path)
    assert again.journal.entries == [previous, last]
    assert again.journal.getCurrentTerm() == term


def test_a_snapshot_older_than_the_journal_is_refused(tmp_path: Path) -> None:
    old = long_journal(tmp_path).snapshot
    journal = Journal(tmp_path / "journal")
    journal.deleteEntriesTo(4)
    journal._destroy()
    assert old is not None
    write(tmp_path, old)
    with pytest.raises(ClusterError, match="between the Raft snapshot and the journal are missing"):
        open_stored(tmp_path, fresh=False)


@given(data=st.data())
def test_a_flipped_bit_in_a_snapshot_is_noticed(data: st.DataObject) -> None:
    whole = bytearray(snapshot_format.encode(Snapshot((b"\x01", 4, 1), (b"\x01", 5, 1), (A, B), b"state")))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ClusterError, match="here: the Raft snapshot is damaged"):
        snapshot_format.decode(bytes(whole), "here")


FINE = {"begins": False, "previous": [b"\x01", 4, 1], "last": [b"\x01", 5, 1], "voters": [A], "state": b""}


@pytest.mark.parametrize(
    "wrong",
    [
        {"begins": 1},
        {"previous": [b"\x01", 3, 1]},
        {"previous": [b"\x01", 4, 2]},
        {"previous": [b"", 4, 1]},
        {"last": [b"\x01", 5]},
        {"last": None},
        {"voters": []},
        {"voters": [A, A]},
        {"voters": ["host:1"]},
        {"voters": [f"10.0.0.{n}:1" for n in range(1, 100)]},
        {"state": "text"},
        {"more": 1},
    ],
)
def test_a_snapshot_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    def sealed(content: dict[str, object]) -> bytes:
        body: bytes = msgpack.packb(content)
        return snapshot_format.MAGIC + hashlib.sha256(body).digest() + body

    assert snapshot_format.decode(sealed(FINE), "here").last == (b"\x01", 5, 1)
    with pytest.raises(ClusterError, match="damaged"):
        snapshot_format.decode(sealed({**FINE, **wrong}), "here")


def test_recovery_goes_on_behind_the_old_log_with_one_voter(tmp_path: Path) -> None:
    long_journal(tmp_path)
    recover(tmp_path, b"survivor", A)
    again = reopen(tmp_path)
    assert again.snapshot is not None
    assert (again.voters, again.snapshot.state) == (frozenset({A}), b"survivor")
    assert again.journal.entries[0][1] > 9
    assert again.journal.getCurrentTerm() > 2


@pytest.mark.parametrize("name", ["journal", "snapshot"])
def test_recovery_works_also_over_what_is_damaged(name: str, tmp_path: Path) -> None:
    long_journal(tmp_path)
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(ClusterError):
        open_stored(tmp_path, fresh=False)
    recover(tmp_path, b"survivor", A)
    assert reopen(tmp_path).voters == frozenset({A})


def test_recovery_that_is_interrupted_is_completed_by_the_next_start(tmp_path: Path) -> None:
    entries = long_journal(tmp_path).journal.entries
    recover(tmp_path, b"survivor", A)
    assert Journal(tmp_path / "journal").entries == entries
    assert reopen(tmp_path).voters == frozenset({A})
    assert Contents(reopen(tmp_path).journal.entries).entries != entries


def test_a_snapshot_holds_only_what_it_says(tmp_path: Path) -> None:
    snapshot = Snapshot((b"\x01", 4, 1), (b"\x01", 5, 1), (B, A), b"state")
    assert snapshot_format.decode(snapshot_format.encode(snapshot), "it") == replace(snapshot, voters=(A, B))
