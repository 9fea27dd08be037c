# SPDX-License-Identifier: Apache-2.0
"""Raft's journal: term, vote and log of this node, forced to the disk before an answer depends on them.

Takes the place of pysyncobj.journal, which writes through mmap and never fsyncs, has no checksums, and
rewrites itself in place. Owns the file `journal` of the Raft folder; it appends there by itself, as every
answer waits for it, and lets agent/files.py replace the file as a whole.

Writing and forcing are apart: what changes is written at once and forced by `sync`, once for all that one
round of messages brought. The transport calls `sync` before it lets a message out, and the commit index does
not pass what is durable here. After an error of the disk the journal takes nothing more (what fsync reported
once it does not report again): the replica ends, and a new one starts from what can be read.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent import files
from agent.election import journal_format as form
from agent.election.journal_format import Contents, Entry
from agent.errors import ClusterError

_log = logging.getLogger(__name__)


class Memory:
    """A journal that ends with the process, for a node without a vote. PySyncObj's interface of a journal."""

    def __init__(self, contents: Contents | None = None) -> None:
        self._contents = contents or Contents()

    def __getitem__(self, item: int | slice) -> Entry | list[Entry]:
        return self._contents.entries[item]

    def __len__(self) -> int:
        return len(self._contents.entries)

    @property
    def entries(self) -> list[Entry]:
        return self._contents.entries

    def add(self, command: bytes, index: int, term: int) -> None:
        self._contents.entries.append((command, index, term))

    def clear(self) -> None:
        self._contents.entries.clear()

    def deleteEntriesFrom(self, position: int) -> None:
        del self._contents.entries[position:]

    def deleteEntriesTo(self, position: int) -> None:
        del self._contents.entries[:position]

    def setCurrentTerm(self, term: int, vote: str | None) -> None:
        self._contents.term, self._contents.vote = term, vote

    def getCurrentTerm(self) -> int:
        return self._contents.term

    def getVotedForNodeId(self) -> str | None:
        return self._contents.vote

    def setRaftCommitIndex(self, index: int) -> None:
        # PySyncObj lowers its own at times; what was committed once stays so.
        self._contents.commit = max(index, self._contents.commit)

    def getRaftCommitIndex(self) -> int:
        return self._contents.commit

    def onOneSecondTimer(self) -> None:
        """Nothing to do."""

    def sync(self) -> None:
        """Nothing to do: nobody counts on a node without a vote."""

    def _destroy(self) -> None:
        """Nothing to do."""

    @contextmanager
    def up_to(self, index: int) -> Iterator[None]:
        """Hide the entries behind `index` from the reader; nothing may be added meanwhile."""
        entries = self._contents.entries
        position = index + 1 - entries[0][1]
        hidden = entries[position:]
        del entries[position:]
        try:
            yield
        finally:
            entries.extend(hidden)


class Journal(Memory):
    """The journal of a voter, in a file."""

    def __init__(self, path: Path) -> None:
        """Open the journal at `path`. ClusterError when there is none, or when it is damaged."""
        self._path = path
        try:
            data = path.read_bytes()
            self._fd = _open(path)
        except OSError as error:
            raise _cannot("read", path, error) from None
        try:
            contents, self._number = form.decode(data, str(path))
            super().__init__(contents)
            self._failed: ClusterError | None = None
            # What a killed process has written is there to read, but perhaps not yet on the disk.
            self._dirty, self._mark_dirty = True, False
            if contents.end < len(data):
                os.ftruncate(self._fd, contents.end)
                os.fsync(self._fd)
        except OSError as error:
            os.close(self._fd)
            raise _cannot("repair", path, error) from None
        except ClusterError:
            os.close(self._fd)
            raise

    @classmethod
    def create(cls, path: Path, contents: Contents) -> "Journal":
        """Make the journal at `path` with `contents`, in place of one that is there, and open it."""
        files.replace(path, form.encode(contents), mode=0o600)
        return cls(path)

    def add(self, command: bytes, index: int, term: int) -> None:
        self._write(form.ENTRY, form.entry_body((command, index, term)))
        super().add(command, index, term)

    def clear(self) -> None:
        self._write(form.CUT, form.number_body(0))
        super().clear()

    def deleteEntriesFrom(self, position: int) -> None:
        if position < len(self):
            self._write(form.CUT, form.number_body(self.entries[position][1]))
        super().deleteEntriesFrom(position)

    def deleteEntriesTo(self, position: int) -> None:
        """Forget the first entries, which a snapshot holds that is durable already."""
        self._check()
        kept = self._contents
        shorter = Contents(kept.entries[position:], kept.term, kept.vote, kept.commit)
        try:
            files.replace(self._path, form.encode(shorter), mode=0o600)
        except ClusterError as error:
            if not os.path.samestat(os.fstat(self._fd), self._path.stat()):
                self._failed = error
                raise
            # The long journal is as good as the short one.
            _log.warning("the Raft journal stays long: %s", error)
            return
        os.close(self._fd)
        self._fd, self._number = _open(self._path), len(form.MARKS) - 1
        self._dirty = self._mark_dirty = False
        self._contents = shorter

    def setCurrentTerm(self, term: int, vote: str | None) -> None:
        self._write(form.VOTE, form.vote_body(term, vote))
        super().setCurrentTerm(term, vote)

    def setRaftCommitIndex(self, index: int) -> None:
        if index > self._contents.commit:
            # A lone voter commits by this call alone: no message goes out that would wait for the disk.
            self.sync()
            self._write(form.COMMIT, form.number_body(index))
            # It may be lost: the next leader tells it again.
            self._dirty = False
            super().setRaftCommitIndex(index)

    def sync(self) -> None:
        """Force to the disk what was written. ClusterError when that fails, then and ever after."""
        self._check()
        if self._dirty:
            try:
                os.fdatasync(self._fd)
                self._number += 1
                mark = form.encode_mark(self._number, self._contents.end)
                os.pwrite(self._fd, mark, form.MARKS[self._number % len(form.MARKS)])
            except OSError as error:
                raise self._fail(error) from None
            self._dirty, self._mark_dirty = False, True

    def onOneSecondTimer(self) -> None:
        """Let the mark reach the disk also when nothing more is written for a while."""
        self._check()
        if self._mark_dirty:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                raise self._fail(error) from None
            self._mark_dirty = False

    def _destroy(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, kind: int, body: bytes) -> None:
        self._check()
        record, checksum = form.encode_record(kind, body, self._contents.checksum)
        try:
            written = 0
            while written < len(record):
                written += os.pwrite(self._fd, record[written:], self._contents.end + written)
        except OSError as error:
            raise self._fail(error) from None
        self._contents.checksum = checksum
        self._contents.end += len(record)
        self._dirty = True

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _fail(self, error: OSError) -> ClusterError:
        self._failed = _cannot("write", self._path, error)
        return self._failed


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _cannot(verb: str, path: Path, error: OSError) -> ClusterError:
    reason = (error.strerror or str(error)).lower()
    return ClusterError(
        f"cannot {verb} the Raft journal {path}: {reason}", hint="see that the disk is writable and not full"
    )
