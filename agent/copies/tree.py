# SPDX-License-Identifier: Apache-2.0
"""The files below a folder, as they are copied: regular files with plain names. Links and sockets are not."""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agent.copies.message import NAME, Put

_NAME = re.compile(NAME)


class Mark(NamedTuple):
    """What changes when a file does: it is replaced, or written."""

    inode: int
    time: int  # of the last write, ns
    size: int


def scan(folder: Path, ignored: Sequence[str] = ()) -> dict[str, Mark]:
    """Return the files below `folder` that are copied, by path within it."""
    found: dict[str, Mark] = {}
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        # What vanishes meanwhile is left out.
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / prefix) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{prefix}{entry.name}/")
                elif is_copied(prefix + entry.name, ignored) and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        seen = entry.stat(follow_symlinks=False)
                        found[prefix + entry.name] = Mark(seen.st_ino, seen.st_mtime_ns, seen.st_size)
    return found


def compare(before: Mapping[str, Mark], now: Mapping[str, Mark]) -> list[str]:
    """Return the names of what changed, came or went, in the order in which it was written, last what went.

    So a file that speaks of another one does not come before it.
    """
    changed = [name for name, mark in now.items() if before.get(name) != mark]
    return sorted(changed, key=lambda name: now[name].time) + [name for name in before if name not in now]


def is_copied(name: str, ignored: Sequence[str]) -> bool:
    """Tell whether a file of this name (a path within the state) is copied, where there is one."""
    return _NAME.fullmatch(name) is not None and not any(
        fnmatch(name.rpartition("/")[2], pattern) for pattern in ignored
    )


@contextmanager
def opened(folder: Path, name: str) -> Iterator[tuple[Put, BinaryIO] | None]:
    """Open a file as it is now, to be sent; None when it is not there, or no file."""
    try:
        fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    with open(fd, "rb") as file:  # noqa: PTH123  it is open already
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode):
            yield Put(name, stat.S_IMODE(found.st_mode) & 0o777, found.st_size), file
        else:
            yield None
