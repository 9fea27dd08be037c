# SPDX-License-Identifier: Apache-2.0
"""The one module that writes files.

Whatever it writes is, after a crash or a power cut at any point, either as it was before or complete: the
content goes to a temporary file beside the target, is forced to the disk, gets its name in one step, and the
folder is forced to the disk before the function returns. What has returned is therefore durable.

An interrupted write leaves at most a temporary file (`leftovers`), which the next write of the same file
takes away. Writers of one folder exclude each other with `lock`.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.errors import ClusterError


def replace(path: Path, data: bytes, *, mode: int) -> None:
    """Give `path` the content `data`, whether it exists or not. ClusterError names file and reason."""

    def rename(temporary: Path) -> None:
        temporary.replace(path)

    _write(path, data, mode, rename)


def create(path: Path, data: bytes, *, mode: int) -> None:
    """Make the file `path`; it must not exist. Never overwrites, not even in a race: link(2) refuses."""

    def link(temporary: Path) -> None:
        try:
            path.hardlink_to(temporary)
        finally:
            temporary.unlink()

    _write(path, data, mode, link)


def make_folder(path: Path, *, mode: int) -> None:
    """Make the folder `path` with its parents, unless it is there; an existing one keeps its mode."""
    if path.is_dir():
        return
    try:
        make_folder(path.parent, mode=0o755)
        with suppress(FileExistsError):
            path.mkdir(mode=mode)
        _sync_folder(path.parent)
    except OSError as error:
        raise _cannot("make", path, error) from None


def write_setting(path: Path, text: str) -> None:
    """Write a kernel setting, a file below /proc/sys that takes its content in one write."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise _cannot("write", path, error) from None


def remove(path: Path) -> None:
    """Remove a file; none is fine."""
    try:
        path.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise _cannot("remove", path, error) from None


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files that interrupted writes left in `folder`."""
    try:
        return sorted(path for path in folder.iterdir() if path.name[:1] == "." and path.suffix == ".new")
    except OSError:
        return []


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep other writers out of `folder`; ends with the process, however that dies."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot("open", folder, error) from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(
                f"{folder}: another program is setting up this node",
                hint="wait until it has ended, then try again",
            ) from None
        yield
    finally:
        os.close(fd)


def _write(path: Path, data: bytes, mode: int, name: Callable[[Path], None]) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        # Closed to others from the first moment on: a secret must not be readable even briefly.
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fchmod(fd, mode)
            os.fsync(fd)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
        finally:
            os.close(fd)
        name(temporary)
        _sync_folder(path.parent)
    except OSError as error:
        raise _cannot("write", path, error) from None


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _cannot(verb: str, path: Path, error: OSError) -> ClusterError:
    hints = {
        "PermissionError": "run as root, or name a folder of your own with --state DIR",
        "FileExistsError": "it was left as it is; see: node-agent status",
    }
    reason = (error.strerror or str(error)).lower()
    return ClusterError(
        f"cannot {verb} {path}: {reason}",
        hint=hints.get(type(error).__name__, "see that the disk is writable and not full, then try again"),
    )
