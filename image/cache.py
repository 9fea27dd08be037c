# SPDX-License-Identifier: Apache-2.0
"""The cache folder: everything in it can be made again, so it may be deleted at any time.

A tree in the cache is made beside its place, renamed and sealed, so it is whole or not there. The seal, a
file next to the tree, holds what it was made from and a fingerprint of what it looked like, so a tree that
was damaged later, or that was made from other inputs, is noticed and made anew. Standard library only: used
before anything is installed.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.errors import ClusterError

VARIABLE = "CLUSTEROS_CACHE"


def locate_cache(project: Path) -> Path:
    """Return the cache folder, made if needed: $CLUSTEROS_CACHE (clones may share it) or `.cache`."""
    root = Path(os.environ.get(VARIABLE) or project / ".cache").absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    except OSError as error:
        raise ClusterError(
            f"cannot write the cache folder {root}: {error.strerror}",
            hint=f"set {VARIABLE} to a folder that you can write",
        ) from error
    return root


@contextlib.contextmanager
def lock_cache(root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the cache for one builder at a time; says so when it has to wait."""
    with (root / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another build uses {root}: waiting for it to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest_files(paths: list[Path], *, base: Path) -> str:
    """Return the SHA-256 over names, modes and contents of files, and of all files below folders."""
    total = hashlib.sha256()
    for path in sorted(_expand(paths)):
        mode = stat.S_IMODE(path.lstat().st_mode) & 0o111
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        total.update(f"{path.relative_to(base)}\0{mode}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def _expand(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            for folder, names, files in os.walk(path):
                names[:] = [name for name in names if name != "__pycache__"]
                yield from (Path(folder, name) for name in files)
        elif path.exists():
            yield path


def fingerprint_tree(tree: Path) -> str:
    """Return a digest over the names, sizes, modes and modification times of a tree's files.

    Contents are not read: this is cheap enough for every start, and finds what deletes, truncates or
    rewrites a file. Byte code is left out, as Python writes it whenever it likes.
    """
    total = hashlib.sha256()
    pending = [str(tree)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in sorted(entries, key=lambda item: item.name):
                if entry.name == "__pycache__":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                info = entry.stat(follow_symlinks=False)
                total.update(f"{entry.path}\0{info.st_size}\0{info.st_mode}\0{info.st_mtime_ns}\n".encode())
    return total.hexdigest()


def _seal_of(tree: Path) -> Path:
    return tree.with_name(f"{tree.name}.seal")


def seal_tree(tree: Path, inputs: str) -> None:
    """Write down what `tree` was made from (`inputs`, a digest) and what it looks like now."""
    seal = _seal_of(tree)
    new = seal.with_name(f"{seal.name}.new")
    new.write_text(json.dumps({"inputs": inputs, "tree": fingerprint_tree(tree)}))
    new.replace(seal)


def touch_seal(tree: Path) -> None:
    """Give the seal of `tree` the time of now, at which it was asked for."""
    os.utime(_seal_of(tree))


def check_seal(tree: Path, inputs: str) -> str:
    """Return "" when `tree` is as it was sealed, from the same inputs; otherwise why it is not."""
    try:
        seal = json.loads(_seal_of(tree).read_text())
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError):
        return "damaged"
    if not isinstance(seal, dict) or not tree.is_dir():
        return "damaged"
    if seal.get("inputs") != inputs:
        return "out of date"
    return "" if seal.get("tree") == fingerprint_tree(tree) else "damaged"


def make_tree(tree: Path, inputs: str, make: Callable[[Path], None]) -> None:
    """Put the result of `make(folder)` at `tree`, whole or not at all, and seal it."""
    remove_tree(tree)
    new = tree.with_name(f"{tree.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        make(new)
        new.rename(tree)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    seal_tree(tree, inputs)


def remove_tree(tree: Path) -> None:
    """Remove `tree`, its seal first, so that an interruption leaves nothing that looks whole."""
    _seal_of(tree).unlink(missing_ok=True)
    shutil.rmtree(tree, ignore_errors=True)
