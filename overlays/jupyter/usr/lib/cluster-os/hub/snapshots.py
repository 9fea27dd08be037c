# SPDX-License-Identifier: Apache-2.0
"""Snapshots of the hub's database, which are what is copied to the voters: a live SQLite file cannot be.

Owns, in two folders of the hub's user: `jupyterhub.sqlite` of the folder that is followed
(clusteros-follow@.service), and the live database `epoch-N.sqlite`. Each epoch of the lease has a live one of
its own, which begins as the newest snapshot: so this may start again at any time, beside a hub that runs, and
takes no database from it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agent.errors import ClusterError

SNAPSHOT = "jupyterhub.sqlite"
APART = 1.0
"""Seconds between two snapshots at least: each is sent whole."""
_HINT = "see that the disk is not full: df; journalctl -u clusteros-jupyterhub-snapshots"
_BUSY = 5.0  # seconds that a reader waits for the hub's commit


def name_live(folder: Path, epoch: int) -> Path:
    """Return the path of the live database of an epoch."""
    return folder / f"epoch-{epoch}.sqlite"


def begin(snapshots: Path, live: Path) -> bool:
    """Make the newest snapshot the live database, unless that is there; True when it was made.

    Databases of earlier epochs go. Without a snapshot there is nothing: the hub begins a new database.
    """
    for other in live.parent.glob("epoch-*.sqlite*"):
        if not other.name.startswith(live.name):
            other.unlink()
    snapshot = snapshots / SNAPSHOT
    if live.exists() or not snapshot.exists():
        return False
    with _told(f"make {snapshot} the live database"):
        _copy(snapshot, live)
    return True


class Watch:
    """Makes a snapshot when the live database changed. For one thread."""

    def __init__(self, snapshots: Path, live: Path) -> None:
        self._snapshot = snapshots / SNAPSHOT
        self._live = live
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None

    def look(self) -> bool:
        """Make a snapshot if there is a change since the last one; True when it was made."""
        with _told(f"make a snapshot of {self._live}"):
            if self._connection is None:
                if not self._live.exists():
                    return False
                self._connection = sqlite3.connect(f"file:{self._live}?mode=rw", uri=True, timeout=_BUSY)
            # Changes with each commit of another connection: https://www.sqlite.org/pragma.html#pragma_data_version
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if version == self._version:
                return False
            _copy(self._live, self._snapshot)
            self._version = version
            return True

    def close(self) -> None:
        """End it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what SQLite and the system say into a ClusterError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise ClusterError(f"cannot {what}: {error}", hint=_HINT) from None


def _copy(source: Path, target: Path) -> None:
    """Give `target` the content of a database as of one moment, in one step."""
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f"file:{source}?mode=rw", uri=True, timeout=_BUSY)) as reading,
        closing(sqlite3.connect(new)) as writing,
    ):
        reading.backup(writing)
    new.chmod(0o600)
    new.replace(target)
