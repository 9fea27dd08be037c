# SPDX-License-Identifier: Apache-2.0
"""A folder to measure in, from which nothing is left: no process, no network, no socket, no file.

A guard, a process in a session of its own, holds the reading end of a pipe. When the bench ends, in whatever
way, the pipe ends too, and the guard takes everything away. What a guard left that was killed itself, the
next bench takes away.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import ClusterError
from agent.mesh.userspace import SOCKETS
from image.bench.cluster.guard import clear

LONGEST = 80
"""Characters of the folder's path: unix(7) allows 107 for a socket's, and nodes have theirs below."""
_PREFIX = "cluster-"


@contextmanager
def hold_ground(folder: Path) -> Iterator[Path]:
    """Make a folder below `folder`, for groups of processes that are named after its own folders.

    To be called by one bench at a time. Raises ClusterError when the path is too long for sockets.
    """
    for left in folder.glob(f"{_PREFIX}*"):
        clear(left)
    ground = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    if len(str(ground)) > LONGEST:
        ground.rmdir()
        raise ClusterError(
            f"the path of {folder} is too long for the sockets of nodes",
            hint="set CLUSTEROS_CACHE to a shorter one",
        )
    with _guard(ground):
        yield ground


def make_group(ground: Path, name: str) -> Path:
    """Make an empty folder, the mark of a group of processes, in place of what was there."""
    group = ground / name
    shutil.rmtree(group, ignore_errors=True)
    group.mkdir()
    return group


@contextmanager
def _guard(ground: Path) -> Iterator[None]:
    # Of WireGuard programs that were killed, as tests/cluster/machines.py names them.
    sockets = SOCKETS / f"mesh{os.getpid() % 100000}[a-z]*.sock"
    guard = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("guard.py")), str(ground), str(sockets)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    try:
        if guard.stdout.readline() != b"ready\n":
            raise ClusterError("the guard that tidies up after the bench did not start")
        yield
    finally:
        guard.stdin.close()
        guard.wait()
        guard.stdout.close()
