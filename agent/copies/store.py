# SPDX-License-Identifier: Apache-2.0
"""A keeper's copy on disk. Owns its folder: `copy/`, `incoming/` (what is not committed), and `about.json`.

The files of a commit get their names one by one, and `about.json` says the new version after that: a crash
in between leaves files that are newer than the version says, each of them whole. The next commit has another
base then, is refused, and is followed by all.
"""

import json
import os
import shutil
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent import files
from agent.copies.version import NONE, Number, Version
from agent.errors import ClusterError
from agent.status import schema

MANY = 64
"""Files, above which one sync(2) of all is faster than one fsync(2) each."""
HINT = "see that the disk is writable and not full: df; journalctl -b"


@dataclass(frozen=True)
class About:
    """What about.json says."""

    version: Version
    fenced: Number


class Store:
    """One role's copy. Used by one connection at a time for changes; safe between threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copy = folder / "copy"
        self._lock = threading.RLock()
        files.make_folder(self._copy, mode=0o700)
        self._about = _read(folder / "about.json")

    @property
    def about(self) -> About:
        """The version of the copy, and the latest epoch."""
        return self._about

    def fence(self, epoch: int) -> About:
        """Take nothing from epochs before `epoch` any more; durable when it returns."""
        with self._lock:
            if epoch > self._about.fenced:
                self._write(About(self._about.version, epoch))
            return self._about

    def begin(self) -> "Change":
        """Begin to take a change."""
        incoming = self._folder / "incoming" / str(threading.get_ident())
        shutil.rmtree(incoming, ignore_errors=True)
        return Change(self, incoming)

    @property
    def copy(self) -> Path:
        """The folder of the copy, to be read."""
        return self._copy

    def apply(self, change: "Change", version: Version, base: Version | None) -> bool:
        """Make a change the copy; False when it does not fit what there is."""
        with self._lock:
            if version.epoch < self._about.fenced or (base is not None and base != self._about.version):
                return False
            fenced = max(version.epoch, self._about.fenced)
            try:
                _force(change.folder / name for name in change.put)
                if base is None:
                    # From here until all is there, the copy is none.
                    self._write(About(NONE, fenced))
                    shutil.rmtree(self._copy)
                    self._copy.mkdir(mode=0o700)
                for name in change.put:
                    target = self._copy / name
                    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    (change.folder / name).replace(target)
                for name in change.gone:
                    _remove(self._copy, name)
            except OSError as error:
                raise ClusterError(
                    f"cannot take a copy: {(error.strerror or str(error)).lower()}", hint=HINT
                ) from None
            self._write(About(version, fenced))
            return True

    def _write(self, about: About) -> None:
        files.replace(
            self._folder / "about.json", json.dumps(schema.encode(about)).encode() + b"\n", mode=0o600
        )
        self._about = about


class Change:
    """What was put and dropped, and is not committed yet."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.folder = folder
        self.put: dict[str, None] = {}  # in order
        self.gone: dict[str, None] = {}
        self._store = store

    def open(self, name: str) -> Path:
        """Return where the content of a file goes until it is committed."""
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.gone.pop(name, None)
        self.put[name] = None
        return path

    def drop(self, name: str) -> None:
        """Note that a file is gone."""
        self.put.pop(name, None)
        self.gone[name] = None

    def commit(self, version: Version, base: Version | None) -> bool:
        """Make it the copy; False when it does not fit. It is used up."""
        try:
            return self._store.apply(self, version, base)
        finally:
            self.forget()

    def forget(self) -> None:
        """Throw it away."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _read(path: Path) -> About:
    try:
        return schema.decode(About, json.loads(path.read_bytes()), "about.json")
    except FileNotFoundError:
        return About(NONE, 0)
    except (OSError, ValueError, ClusterError):
        # Nothing that says what the copy is: it is none. The epoch is told again by the next holder.
        return About(NONE, 0)


def _force(paths: Iterable[Path]) -> None:
    """Force files to the disk, before anything says that they are there."""
    waiting = list(paths)
    if len(waiting) > MANY:
        os.sync()
        return
    for path in waiting:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _remove(folder: Path, name: str) -> None:
    path = folder / name
    with suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()
    # Folders go with their last file.
    for parent in path.parents:
        if parent == folder:
            return
        try:
            parent.rmdir()
        except OSError:
            return
