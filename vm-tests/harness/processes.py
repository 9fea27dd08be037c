# SPDX-License-Identifier: Apache-2.0
"""The processes of a VM group, found by a mark in their environment instead of by recorded process ids.

A recorded id can be lost (kill -9 between start and record) or be recycled. The mark is inherited by
everything that is started with it, cannot be forgotten, and is checked on a pidfd, so that a signal reaches
exactly the process that was looked at.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GROUP = "CLUSTEROS_VM_GROUP"
"""Environment variable: the state folder of the group that the process belongs to."""
ROLE = "CLUSTEROS_VM_ROLE"
"""Environment variable: what the process is, `holder` or `node1.qemu`, `node1.tpm`, `node1.relay`."""

_EXEC_LOOKS = 100
"""How often an empty environment is looked at again; some 2 ms, many times what execve(2) takes."""


@dataclass(frozen=True)
class Process:
    """A process of the group at `group` (a state folder) with its role."""

    pid: int
    group: str
    role: str

    @property
    def alive(self) -> bool:
        """True while this very process runs; a zombie is not alive."""
        return _read(self.pid) == self

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to this very process; False when it is gone."""
        with self._handle() as handle:
            if handle is None:
                return False
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return False
            return True

    def wait(self, limit: float) -> bool:
        """Wait until the process has ended; False when it still runs after `limit` seconds."""
        with self._handle() as handle:
            return handle is None or bool(select.select([handle], [], [], limit)[0])

    def end(self, *, grace: float) -> None:
        """Terminate, and kill what has not ended after `grace` seconds."""
        if self.signal(signal.SIGTERM) and not self.wait(grace) and self.signal(signal.SIGKILL):
            self.wait(grace)

    @contextmanager
    def _handle(self) -> Iterator[int | None]:
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            # Looked at after the handle was taken: if it matches now, the handle is that process for good.
            yield handle if self.alive else None
        finally:
            os.close(handle)


def mark(group: Path, role: str) -> dict[str, str]:
    """Return this environment plus the mark, for a process that is about to be started."""
    return {**os.environ, GROUP: str(group), ROLE: role}


def find(group: Path, role: str | None = None) -> list[Process]:
    """Return the running processes of a group, all or those of one role, in order of their ids."""
    found = (_read(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    wanted = [p for p in found if p and p.group == str(group) and role in (None, p.role)]
    return sorted(wanted, key=lambda process: process.pid)


def end_all(group: Path, *, grace: float) -> None:
    """End every process of a group, also those that were being started meanwhile, until there is none."""
    while found := find(group):
        for process in found:
            process.end(grace=grace)


def _read(pid: int) -> Process | None:
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
        for _ in range(_EXEC_LOOKS):
            # Empty in a process that right now turns into another program. Kernel threads and zombies, whose
            # environment is empty too, have no program.
            if data or not Path(f"/proc/{pid}/exe").exists():
                break
            os.sched_yield()
            data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # gone, or somebody else's
        return None
    variables = dict(part.split(b"=", 1) for part in data.split(b"\0") if b"=" in part)
    group, role = variables.get(GROUP.encode()), variables.get(ROLE.encode())
    return Process(pid, os.fsdecode(group), os.fsdecode(role)) if group and role else None
