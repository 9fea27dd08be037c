# SPDX-License-Identifier: Apache-2.0
"""Raft's journal: what was forced to the disk outlives a power cut, and damage is told from it."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.election import journal_format as form
from agent.election.journal import Journal, Memory
from agent.election.journal_format import Contents, Entry
from agent.errors import ClusterError

SECTOR = 512
State = tuple[list[Entry], int, str | None]


def state(journal: Memory) -> State:
    return list(journal.entries), journal.getCurrentTerm(), journal.getVotedForNodeId()


def make(folder: Path) -> Journal:
    return Journal.create(folder / "journal", Contents([(b"\x01", 1, 0)]))


def act(journal: Memory, step: tuple[str, int]) -> None:
    """One step as Raft would do it; the number chooses among what is possible."""
    what, number = step
    last = journal.entries[-1][1]
    if what == "add":
        journal.add(bytes(number % 700 + 1), last + 1, journal.getCurrentTerm())
    elif what == "cut" and len(journal) > 1:
        journal.deleteEntriesFrom(1 + number % (len(journal) - 1))
    elif what == "term":
        journal.setCurrentTerm(
            journal.getCurrentTerm() + 1, f"127.0.0.{number % 9}:7950" if number % 2 else None
        )
    elif what == "compact" and len(journal) > 2:
        journal.deleteEntriesTo(number % (len(journal) - 1))
    elif what == "commit":
        journal.setRaftCommitIndex(last)
    elif what == "sync":
        journal.sync()
    elif what == "second":
        journal.onOneSecondTimer()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "cut", "term", "sync", "second", "commit", "compact"]),
        st.integers(0, 10_000),
    ),
    max_size=25,
)


@given(steps=STEPS)
@settings(max_examples=40, deadline=None)
def test_a_journal_that_is_opened_again_is_as_it_was(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    journal, memory = make(tmp_path_factory.mktemp("j")), Memory(Contents([(b"\x01", 1, 0)]))
    for step in steps:
        act(journal, step)
        act(memory, step)
        assert state(journal) == state(memory)
    journal._destroy()
    again = Journal(journal._path)
    assert state(again) == state(memory)
    assert again.getRaftCommitIndex() == memory.getRaftCommitIndex()
    again._destroy()


def cut_power(path: Path, forced: bytes, now: bytes, randomly: random.Random) -> None:
    """Leave of what was written since the last fsync only some sectors, in any order."""
    size = randomly.choice([len(forced), len(now), randomly.randint(min(len(forced), len(now)), len(now))])
    left = bytearray(forced.ljust(size, b"\0")[:size] if size > len(forced) else forced)
    for start in range(0, min(len(now), len(left)), SECTOR):
        if randomly.random() < 0.5:
            end = min(start + SECTOR, len(left))
            left[start:end] = now[start:end]
    path.write_bytes(bytes(left))


@given(steps=STEPS, seed=st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_a_power_cut_at_any_point_leaves_at_least_what_was_forced_to_the_disk(
    steps: list[tuple[str, int]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    journal = make(tmp_path_factory.mktemp("j"))
    path = journal._path
    kept = [state(journal)]  # each state since the last fsync
    disk = path.read_bytes()
    real = os.fdatasync

    def force(fd: int) -> None:
        nonlocal disk
        real(fd)
        disk = path.read_bytes()
        kept[:] = [state(journal)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", force)
        for step in steps:
            act(journal, step)
            if step[0] == "compact":
                force(journal._fd)
            kept.append(state(journal))
    cut_power(path, disk, path.read_bytes(), random.Random(seed))
    journal._destroy()
    again = Journal(path)
    assert state(again) in kept
    # And what is cut off is gone: new records do not bring it back.
    again.add(b"new", again.entries[-1][1] + 1, again.getCurrentTerm())
    again.sync()
    after = state(again)
    again._destroy()
    third = Journal(path)
    assert state(third) == after
    third._destroy()


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_flipped_bit_in_what_was_promised_is_noticed(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    journal = make(tmp_path_factory.mktemp("j"))
    for number in range(5):
        journal.add(b"command %d" % number, number + 2, 1)
    journal.sync()
    journal._destroy()
    path = journal._path
    whole = bytearray(path.read_bytes())
    bit = data.draw(st.integers(form.START * 8, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(whole))
    with pytest.raises(
        ClusterError, match=r"journal: the Raft journal is damaged: .* broken, and it was promised"
    ):
        Journal(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda whole: b"", "does not begin like one"),
        (lambda whole: b"x" * 9000, "does not begin like one"),
        (lambda whole: whole[: form.START], "was promised"),
        (lambda whole: whole[:-40], "was promised"),
        (lambda whole: whole[:512] + bytes(1024) + whole[1536:], "both marks"),
    ],
)
def test_a_journal_that_lost_what_it_promised_is_refused_by_name(
    damage: Callable[[bytes], bytes], reason: str, tmp_path: Path
) -> None:
    journal = make(tmp_path)
    journal.add(b"command", 2, 1)
    journal.sync()
    journal._destroy()
    path = tmp_path / "journal"
    before = damage(path.read_bytes())
    path.write_bytes(before)
    with pytest.raises(ClusterError, match=reason) as caught:
        Journal(path)
    assert str(path) in caught.value.message
    assert path.read_bytes() == before


def test_one_broken_mark_is_no_damage(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.add(b"command", 2, 1)
    journal.sync()
    journal.add(b"command", 3, 1)
    journal.sync()
    journal._destroy()
    path = tmp_path / "journal"
    for offset in form.MARKS:
        whole = bytearray(path.read_bytes())
        whole[offset : offset + 8] = bytes(8)
        (tmp_path / "other").write_bytes(bytes(whole))
        again = Journal(tmp_path / "other")
        assert len(again) == 3
        again._destroy()


def test_a_missing_journal_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"cannot read the Raft journal .*journal: no such file"):
        Journal(tmp_path / "journal")


def test_after_an_error_of_the_disk_nothing_is_taken_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = make(tmp_path)
    journal.add(b"one", 2, 1)

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(ClusterError, match="input/output error"):
        journal.sync()
    # The kernel tells of an error once; a second fsync that succeeds would be a lie.
    monkeypatch.undo()
    for try_it in (journal.sync, lambda: journal.add(b"two", 3, 1), lambda: journal.setCurrentTerm(2, None)):
        with pytest.raises(ClusterError, match="input/output error"):
            try_it()
    journal._destroy()


def test_a_disk_that_is_full_in_the_middle_of_a_record_costs_only_that_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = make(tmp_path)
    journal.add(b"one", 2, 1)
    journal.sync()
    real, room = os.pwrite, [5]

    def write(fd: int, data: bytes, offset: int) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return real(fd, data[: room.pop()], offset)

    monkeypatch.setattr(os, "pwrite", write)
    with pytest.raises(ClusterError, match="no space left"):
        journal.add(b"two", 3, 1)
    assert len(journal) == 2
    monkeypatch.undo()
    journal._destroy()
    again = Journal(tmp_path / "journal")
    assert len(again) == 2
    again._destroy()


def test_a_compaction_for_which_there_is_no_room_leaves_the_long_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = make(tmp_path)
    for index in range(2, 9):
        journal.add(b"x", index, 1)

    def refuse(*_: object, **__: object) -> None:
        raise ClusterError("cannot write: no space left")

    monkeypatch.setattr("agent.files.replace", refuse)
    journal.deleteEntriesTo(4)
    assert len(journal) == 8
    assert "stays long" in caplog.text
    monkeypatch.undo()
    journal.deleteEntriesTo(4)
    assert [index for _, index, _ in journal.entries] == [5, 6, 7, 8]
    journal._destroy()


def test_the_commit_index_does_not_pass_what_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = make(tmp_path)
    journal.add(b"one", 2, 1)
    committed: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: committed.append(journal.getRaftCommitIndex()))
    journal.setRaftCommitIndex(2)
    assert committed == [1]
    assert journal.getRaftCommitIndex() == 2
    journal.setRaftCommitIndex(1)
    assert journal.getRaftCommitIndex() == 2
    journal._destroy()


def test_one_fsync_serves_all_that_was_written_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = make(tmp_path)
    forced: list[int] = []
    real = os.fdatasync

    def force(fd: int) -> None:
        forced.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", force)
    for index in range(2, 50):
        journal.add(b"x", index, 1)
    journal.setCurrentTerm(2, None)
    journal.sync()
    journal.sync()
    assert len(forced) == 1
    journal._destroy()


def test_hidden_entries_come_back(tmp_path: Path) -> None:
    journal = make(tmp_path)
    for index in range(2, 6):
        journal.add(b"x", index, 1)
    with journal.up_to(3):
        assert [index for _, index, _ in journal.entries] == [1, 2, 3]
    assert [index for _, index, _ in journal.entries] == [1, 2, 3, 4, 5]
    journal._destroy()
