# SPDX-License-Identifier: Apache-2.0
"""Snapshots of the hub's database: each whole, none without a change, the newest begins an epoch."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.errors import ClusterError
from hub.snapshots import SNAPSHOT, Watch, begin, name_live


@pytest.fixture
def snapshots(tmp_path: Path) -> Path:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    return folder


@pytest.fixture
def live(tmp_path: Path) -> Path:
    folder = tmp_path / "live"
    folder.mkdir()
    return name_live(folder, 3)


def write(path: Path, *names: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS users (name TEXT)")
        connection.executemany("INSERT INTO users VALUES (?)", [(name,) for name in names])


def read(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM users ORDER BY name")]


def test_a_change_makes_a_snapshot_and_no_change_makes_none(snapshots: Path, live: Path) -> None:
    watch = Watch(snapshots, live)
    assert not watch.look()  # the hub has not begun yet
    write(live, "alice")
    assert watch.look()
    assert read(snapshots / SNAPSHOT) == ["alice"]
    before = (snapshots / SNAPSHOT).stat()
    assert not watch.look()
    assert (snapshots / SNAPSHOT).stat() == before
    write(live, "bob")
    assert watch.look()
    assert read(snapshots / SNAPSHOT) == ["alice", "bob"]
    assert [path.name for path in snapshots.iterdir()] == [SNAPSHOT]
    watch.close()


def test_what_is_not_committed_is_in_no_snapshot(snapshots: Path, live: Path) -> None:
    write(live, "alice")
    watch = Watch(snapshots, live)
    with closing(sqlite3.connect(live)) as hub:
        hub.execute("INSERT INTO users VALUES ('bob')")
        assert watch.look()
        assert read(snapshots / SNAPSHOT) == ["alice"]
        hub.commit()
    assert watch.look()
    assert read(snapshots / SNAPSHOT) == ["alice", "bob"]
    watch.close()


def test_the_next_epoch_begins_with_the_newest_snapshot(snapshots: Path, live: Path) -> None:
    write(snapshots / SNAPSHOT, "alice")
    write(live, "stale")
    (live.parent / f"{live.name}-journal").touch()
    later = name_live(live.parent, 12)
    assert begin(snapshots, later)
    assert read(later) == ["alice"]
    assert [path.name for path in live.parent.iterdir()] == [later.name]


def test_epoch_1_is_not_taken_for_epoch_12(snapshots: Path, live: Path) -> None:
    first, twelfth = name_live(live.parent, 1), name_live(live.parent, 12)
    write(twelfth, "stale")
    begin(snapshots, first)
    assert not twelfth.exists()


def test_within_an_epoch_no_database_is_taken_from_the_hub(snapshots: Path, live: Path) -> None:
    write(snapshots / SNAPSHOT, "alice")
    assert begin(snapshots, live)
    write(live, "bob")
    assert not begin(snapshots, live)
    assert read(live) == ["alice", "bob"]


def test_the_first_hub_of_a_cluster_begins_with_nothing(snapshots: Path, live: Path) -> None:
    assert not begin(snapshots, live)
    assert not live.exists()


def test_a_copy_that_was_interrupted_is_made_anew(snapshots: Path, live: Path) -> None:
    (snapshots / f"{SNAPSHOT}.new").write_bytes(b"half")
    write(live, "alice")
    watch = Watch(snapshots, live)
    assert watch.look()
    assert read(snapshots / SNAPSHOT) == ["alice"]
    watch.close()


def test_a_damaged_database_is_told_in_a_sentence_and_leaves_the_snapshot(
    snapshots: Path, live: Path
) -> None:
    write(live, "alice")
    watch = Watch(snapshots, live)
    assert watch.look()
    watch.close()
    live.write_bytes(b"x" * 4096)
    damaged = Watch(snapshots, live)
    with pytest.raises(ClusterError, match="cannot make a snapshot of"):
        damaged.look()
    damaged.close()
    assert read(snapshots / SNAPSHOT) == ["alice"]
