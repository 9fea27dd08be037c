# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ANN401  (functions that stand before those of `os` take whatever those take)
"""Interrupted at any point, first boot is completed by the next, under the identity that was made first.

Two ways to die: the process is killed (what it did stays), and the power is cut (what was not forced to the
disk may be lost). Both are tried at every operation on a file, with the real program.
"""

import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from agent import files, keystore
from firstboot.inventory import main as take_facts
from firstboot.main import main
from tests.machine import make_machine, start_again

# Every call of the operating system that changes a file, as CPython names it.
CHANGES = frozenset(("write", "fsync", "link", "rename", "replace", "unlink", "mkdir", "fchmod"))
# More than first boot makes; reaching it would mean that it never ends.
MOST_OPERATIONS = 200


def boot(root: Path) -> int:
    """Run what a boot runs, in its order; return the worse of the two exit statuses."""
    return max(main([str(root)]), take_facts([str(root)]))


def run_and_die(root: Path, survive: int) -> bool:
    """Run first boot in a process of its own that is killed before its change number `survive`.

    Returns whether it was killed. The interpreter's profiler sees each call into the operating system, so the
    program under test has no hook for this.
    """
    child = os.fork()
    if child == 0:
        seen = 0

        def watch(_frame: FrameType, event: str, what: Any) -> None:
            nonlocal seen
            if event != "c_call" or what.__module__ != "posix":
                return
            if what.__name__ in CHANGES or (
                what.__name__ == "open" and _frame.f_code.co_filename == files.__file__
            ):
                if seen == survive:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        status = 99
        try:
            sys.stdout = io.StringIO()
            sys.setprofile(watch)
            status = boot(root)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def read_node_id(state: Path) -> str | None:
    stored = keystore.load(state / "identity.json")
    return stored.identity.node_id if stored else None


def check_complete(root: Path) -> str:
    """Check that first boot completes now and left nothing behind; return the node ID."""
    state = root / "var/lib/cluster-os"
    assert boot(root) == 0
    assert sorted(path.name for path in state.iterdir()) == ["facts.json", "firstboot.json", "identity.json"]
    found = read_node_id(state)
    assert found is not None
    assert json.loads((state / "firstboot.json").read_bytes())["node_id"] == found
    assert (root / "etc/hostname").read_text() == f"n-{found[:10].lower()}\n"
    return found


def test_killed_before_any_change_the_next_boot_completes_it(tmp_path: Path) -> None:
    points = 0
    while run_and_die(make_machine(tmp_path / str(points)), points):
        root = tmp_path / str(points)
        made = read_node_id(root / "var/lib/cluster-os")
        start_again(root)
        assert check_complete(root) == (made or check_complete(root))
        points += 1
        assert points < MOST_OPERATIONS
    assert (
        points > 30
    )  # three durable files and four others take that many; fewer means that nothing was killed


def test_killed_again_and_again_it_still_ends_with_one_identity(tmp_path: Path) -> None:
    root = make_machine(tmp_path)
    state = root / "var/lib/cluster-os"
    made: set[str] = set()
    for survive in range(MOST_OPERATIONS):
        killed = run_and_die(root, survive)
        made |= {found} if (found := read_node_id(state)) else set()
        if not killed:
            break
        start_again(root)
    assert made == {check_complete(root)}


class Recorder:
    """Records what first boot does to its state folder, and in between what it says."""

    def __init__(self, state: Path) -> None:
        self.state = str(state)
        self.log: list[tuple[str, Any, Any]] = []
        self.open_files: dict[int, str] = {}

    def inside(self, path: object) -> str | None:
        folder, _, name = os.fspath(path).rpartition("/")  # type: ignore[call-overload]
        return name if folder == self.state else None

    def write(self, text: str) -> int:
        self.log.append(("say", text, None))
        return len(text)

    def flush(self) -> None:
        """As print() wants it."""


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Each of these functions does its work and then is noted down."""
    found = Recorder(make_machine(tmp_path / "recorded") / "var/lib/cluster-os")
    real = {
        name: getattr(os, name) for name in ("open", "write", "fsync", "link", "rename", "replace", "unlink")
    }

    def record_open(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        fd: int = real["open"](path, flags, mode, **options)
        found.open_files[fd] = ""
        if str(path) == found.state:
            found.open_files[fd] = "."
        elif flags & os.O_CREAT and (name := found.inside(path)):
            found.open_files[fd] = name
            found.log.append(("create", name, None))
        return fd

    def record_write(fd: int, data: Any) -> int:
        count: int = real["write"](fd, data)
        if found.open_files.get(fd):
            found.log.append(("write", found.open_files[fd], bytes(data[:count])))
        return count

    def record_fsync(fd: int) -> None:
        real["fsync"](fd)
        if found.open_files.get(fd):
            found.log.append(("fsync", found.open_files[fd], None))

    def record_two(kind: str) -> Any:
        def call(old: Any, new: Any, **options: Any) -> None:
            real[kind](old, new, **options)
            if found.inside(new):
                found.log.append(
                    ("link" if kind == "link" else "rename", found.inside(old), found.inside(new))
                )

        return call

    def record_unlink(path: Any, **options: Any) -> None:
        real["unlink"](path, **options)
        if found.inside(path):
            found.log.append(("unlink", found.inside(path), None))

    monkeypatch.setattr(os, "open", record_open)
    monkeypatch.setattr(os, "write", record_write)
    monkeypatch.setattr(os, "fsync", record_fsync)
    for kind in ("link", "rename", "replace"):
        monkeypatch.setattr(os, kind, record_two(kind))
    monkeypatch.setattr(os, "unlink", record_unlink)
    yield found


class Disk:
    """A file system that keeps only what it was told to keep, as POSIX allows the real ones to be.

    A file's content is certain after fsync of the file; a name is certain after fsync of the folder; names
    change in order. What is not certain may be there after a power cut or not.
    """

    def __init__(self) -> None:
        self.content: list[bytes] = []  # by file, with all that was written
        self.certain: list[int] = []  # how many of these bytes are on the disk
        self.names: dict[str, int] = {}
        self.versions: list[dict[str, int]] = [{}]  # what the folder may be like, the certain one first

    def do(self, kind: str, first: Any, second: Any) -> None:
        if kind == "create":
            self.content.append(b"")
            self.certain.append(0)
            self.names = {**self.names, first: len(self.content) - 1}
        elif kind == "write":
            self.content[self.names[first]] += second
            return
        elif kind == "fsync" and first == ".":
            self.versions = [self.names]
            return
        elif kind == "fsync":
            self.certain[self.names[first]] = len(self.content[self.names[first]])
            return
        elif kind == "link":
            self.names = {**self.names, second: self.names[first]}
        elif kind == "rename":
            file = self.names[first]
            self.names = {name: self.names[name] for name in self.names if name != first} | {second: file}
        elif kind == "unlink":
            self.names = {name: self.names[name] for name in self.names if name != first}
        self.versions.append(self.names)

    def after_a_power_cut(self) -> Iterator[dict[str, bytes]]:
        """Yield every folder that may be found at the next boot, by name and content."""
        for names in self.versions:
            for part in (0, 0.5, 1):
                yield {
                    name: self.content[file][: max(self.certain[file], int(part * len(self.content[file])))]
                    for name, file in names.items()
                }


def test_after_a_power_cut_at_any_change_the_next_boot_completes_it(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setattr(sys, "stdout", recorder)
        assert boot(tmp_path / "recorded") == 0
    monkeypatch.undo()
    made = read_node_id(Path(recorder.state))
    assert made
    kinds = [kind for kind, _, _ in recorder.log]
    assert kinds.count("create") == 3
    root = make_machine(tmp_path / "again")
    state = root / "var/lib/cluster-os"
    disk, said, tried = Disk(), "", set()
    for kind, first, second in [("start", None, None), *recorder.log]:
        if kind == "say":
            said += first
        elif kind != "start":
            disk.do(kind, first, second)
        for found in disk.after_a_power_cut():
            case = (tuple(sorted(found.items())), "made a node key" in said)
            if case in tried:
                continue
            tried.add(case)
            shutil.rmtree(state)
            state.mkdir(mode=0o700)
            for name, content in found.items():
                (state / name).write_bytes(content)
                (state / name).chmod(0o600)
            start_again(root)
            complete = check_complete(root)
            # Nobody may have been told of an identity that a power cut takes back.
            assert complete == made or "made a node key" not in said
    assert len(tried) >= 10  # fewer, and the recorder did not see what was done
