# SPDX-License-Identifier: Apache-2.0
"""What a voter keeps of Raft on its disk, made to agree when it starts. Owns the Raft folder.

    journal    term, vote and log (agent/election/journal.py); made once, never missing later
    snapshot   the state up to an entry, and who voted then (agent/election/snapshots.py)

A power cut may come between the writing of the two; what is never so by a power cut is refused by name.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from agent import files
from agent.election import command, snapshot_format
from agent.election.journal import Journal, Memory
from agent.election.journal_format import Contents
from agent.election.snapshot_format import Snapshot
from agent.errors import ClusterError

LOST = "let another voter take this one's place, or see node-agent recover"
FIRST_INDEX, FIRST_TERM = 3, 1
# Of the entry at which a cluster begins. Not 1 and 0, from where an empty node would go on without the state.


@dataclass
class Stored:
    journal: Journal
    snapshot: Snapshot | None

    @property
    def voters(self) -> frozenset[str] | None:
        """Who votes by all that is in the log; None when no leader has told this node yet."""
        if self.snapshot is None:
            return None
        return voters_at(self.snapshot, self.journal, None)


def voters_at(snapshot: Snapshot, journal: Memory, index: int | None) -> frozenset[str]:
    """Return who votes by the log up to `index`, or by all of it."""
    last = snapshot.last[1]
    return command.voters_after(
        snapshot.voters,
        (entry for entry in journal.entries if last < entry[1] and (index is None or entry[1] <= index)),
    )


def found(folder: Path, state: bytes, voters: tuple[str, ...]) -> None:
    """Begin the log of a new cluster: all founders write the same, and need no leader for it.

    `state`: of the state machine; `voters`: addresses. ClusterError when this node had a vote before.
    """
    if exists(folder):
        raise ClusterError(f"{folder} holds the log of a cluster already", hint=LOST)
    _begin(folder, state, voters, FIRST_TERM, FIRST_INDEX)


def recover(folder: Path, state: bytes, voter: str) -> None:
    """Begin a log in which this node alone has a vote, in place of what is there, damaged or not.

    For a quorum that is lost for good: the other voters must never come back with theirs (they do not get in
    when the Raft password changes with the recovery).
    """
    term, index = FIRST_TERM, FIRST_INDEX
    try:
        old = _read_snapshot(folder)
        contents = _read_terms(folder)
    except ClusterError:
        # What is given up may be damaged; what matters is that nothing of it counts any more.
        old, contents = None, None
    if old is not None:
        term, index = max(term, old.last[2] + 1), max(index, old.last[1] + 2)
    if contents is not None:
        term, index = max(term, contents[0] + 1), max(index, contents[1] + 2)
    _begin(folder, state, (voter,), term, index)


def _begin(folder: Path, state: bytes, voters: tuple[str, ...], term: int, index: int) -> None:
    files.make_folder(folder, mode=0o700)
    snapshot = Snapshot(
        previous=(command.NOTHING, index - 1, term),
        last=(command.NOTHING, index, term),
        voters=tuple(sorted(voters)),
        state=state,
        begins=True,
    )
    files.replace(folder / "snapshot", snapshot_format.encode(snapshot), mode=0o600)


def exists(folder: Path) -> bool:
    """Tell whether this node has, or had, a vote."""
    return any(os.path.lexists(folder / name) for name in ("journal", "snapshot"))


def open_stored(folder: Path, *, fresh: bool) -> Stored:
    """Open journal and snapshot of a voter, and make them agree.

    `fresh`: this node is about to get a vote that it does not have, as the committed log says: it begins
    with an empty log, but keeps what it voted. Without it a log must be there: a voter that forgot what it
    acknowledged or how it voted could undo what is committed. ClusterError names what is damaged or missing.
    """
    files.make_folder(folder, mode=0o700)
    snapshot = _read_snapshot(folder)
    path = folder / "journal"
    if snapshot is not None and snapshot.begins and not fresh:
        journal = Journal.create(path, _contents(snapshot, snapshot.last[2], None))
        snapshot = replace(snapshot, begins=False)
        files.replace(folder / "snapshot", snapshot_format.encode(snapshot), mode=0o600)
        return Stored(journal, snapshot)
    if not os.path.lexists(path):
        if not fresh:
            raise ClusterError(f"{path} is missing, and this node has a vote", hint=LOST)
        files.remove(folder / "snapshot")
        return Stored(_create_empty(path, 0, None), None)
    journal = Journal(path)
    if fresh:
        files.remove(folder / "snapshot")
        term, vote = journal.getCurrentTerm(), journal.getVotedForNodeId()
        journal._destroy()
        return Stored(_create_empty(path, term, vote), None)
    try:
        return Stored(_agree(folder, journal, snapshot), snapshot)
    except ClusterError:
        journal._destroy()
        raise


def _agree(folder: Path, journal: Journal, snapshot: Snapshot | None) -> Journal:
    entries = journal.entries
    first = entries[0][1] if entries else 0
    if snapshot is None:
        if first > 1:
            raise ClusterError(
                f"{folder / 'snapshot'} is missing, and the journal begins after it", hint=LOST
            )
        return journal
    if first > snapshot.previous[1]:
        raise ClusterError(
            f"{folder}: entries between the Raft snapshot and the journal are missing", hint=LOST
        )
    position = snapshot.previous[1] - first
    if entries[position : position + 2] == [snapshot.previous, snapshot.last]:
        # PySyncObj would throw away the whole journal unless it begins exactly here.
        if position:
            journal.deleteEntriesTo(position)
        return journal
    # A snapshot that the leader sent, and the power went before the journal followed it.
    term, vote = max(journal.getCurrentTerm(), snapshot.last[2]), journal.getVotedForNodeId()
    if term != journal.getCurrentTerm():
        vote = None
    journal._destroy()
    return Journal.create(folder / "journal", _contents(snapshot, term, vote))


def _contents(snapshot: Snapshot, term: int, vote: str | None) -> Contents:
    return Contents([snapshot.previous, snapshot.last], term, vote, commit=snapshot.last[1])


def _create_empty(path: Path, term: int, vote: str | None) -> Journal:
    # The entry that PySyncObj would put into an empty log.
    return Journal.create(path, Contents([(command.NOTHING, 1, 0)], term, vote))


def _read_snapshot(folder: Path) -> Snapshot | None:
    path = folder / "snapshot"
    try:
        return snapshot_format.decode(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None


def _read_terms(folder: Path) -> tuple[int, int] | None:
    """Return the term and the last index of the journal; None when there is none."""
    if not os.path.lexists(folder / "journal"):
        return None
    journal = Journal(folder / "journal")
    journal._destroy()
    return journal.getCurrentTerm(), journal.entries[-1][1] if journal.entries else 0
