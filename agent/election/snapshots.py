# SPDX-License-Identifier: Apache-2.0
"""The newest Raft snapshot of this node: on the disk of a voter, and on its way between replicas.

Takes the place of pysyncobj.serializer, which pickles, does not fsync before the log is cut, and answers
"taken" to the leader also when it could not read what it got. Owns the file `snapshot` of the Raft folder.
The interface is PySyncObj's, where `data` is (unused, last entry, the one before, unused).
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from agent import files
from agent.election import snapshot_format
from agent.election.interfaces import DONE, FAILED, IDLE, Node
from agent.election.journal_format import Entry
from agent.election.message import CHUNK
from agent.election.snapshot_format import MAX_BYTES, Snapshot
from agent.errors import ClusterError

_log = logging.getLogger(__name__)
Data = tuple[object, Entry, Entry, object]


class Snapshots:
    """`take` gives voters and state at the last applied entry; `put` checks and takes over a state."""

    def __init__(
        self,
        path: Path | None,
        newest: Snapshot | None,
        *,
        take: Callable[[], tuple[Iterable[str], bytes]],
        put: Callable[[Snapshot], list[Node]],
        check: Callable[[Snapshot], None],
    ) -> None:
        """`path`: None where nothing is kept beyond the process. `check` raises ClusterError: not taken."""
        self.newest = newest
        self.path = path
        self._take, self._put, self._check = take, put, check
        self._data = snapshot_format.encode(newest) if newest is not None else b""
        self._outcome: tuple[int, int | None] = (IDLE, None)
        self._sent: dict[str, tuple[bytes, int]] = {}  # node -> what is being sent, how much of it was
        self._incoming = bytearray()

    def checkSerializing(self) -> tuple[int, int | None]:
        outcome, self._outcome = self._outcome, (IDLE, None)
        return outcome

    def serialize(self, data: Data, index: int) -> None:
        """Take a snapshot now; `checkSerializing` tells once how it went."""
        _, last, previous, _ = data
        voters, state = self._take()
        try:
            self._keep(Snapshot(previous, last, tuple(sorted(voters)), state))
            self._outcome = DONE, index
        except ClusterError as error:
            _log.warning("no Raft snapshot was taken, the journal grows: %s", error)
            self._outcome = FAILED, index

    def deserialize(self) -> tuple[None, Entry, Entry, list[Node]]:
        """Take over the newest snapshot; returns PySyncObj's part of it."""
        assert self.newest is not None
        return None, self.newest.last, self.newest.previous, self._put(self.newest)

    def getTransmissionData(self, node: Node) -> tuple[bytes, bool, bool] | None:
        """Return the next part for `node`, and whether it is the first, the last (which is empty)."""
        if not self._data:
            return None
        data, offset = self._sent.get(node.id, (self._data, 0))
        part = data[offset : offset + CHUNK]
        self._sent[node.id] = data, offset + len(part)
        if not part:
            del self._sent[node.id]
        return part, offset == 0, not part

    def cancelTransmisstion(self, node: Node) -> None:
        self._sent.pop(node.id, None)

    def setTransmissionData(self, part: tuple[bytes, bool, bool] | None) -> bool:
        """Take a part of the leader's snapshot; tells whether it is now complete, good and kept."""
        if part is None:
            return False
        data, first, last = part
        if first:
            self._incoming.clear()
        self._incoming += data
        if len(self._incoming) > MAX_BYTES:
            self._incoming.clear()
        if not last:
            return False
        whole = bytes(self._incoming)
        self._incoming.clear()
        try:
            snapshot = snapshot_format.decode(whole, "what the leader sent")
            self._check(snapshot)
            self._keep(replace(snapshot, begins=False))
        except ClusterError as error:
            _log.warning("the leader's snapshot is not taken: %s", error)
            return False
        return True

    def _keep(self, snapshot: Snapshot) -> None:
        data = snapshot_format.encode(snapshot)
        if len(data) > MAX_BYTES:
            raise ClusterError(f"a Raft snapshot of {len(data)} bytes is larger than {MAX_BYTES}")
        if self.path is not None:
            files.replace(self.path, data, mode=0o600)
        self.newest, self._data = snapshot, data
        # Who was half-way through the old one begins anew: the log begins elsewhere now.
        self._sent.clear()
