# SPDX-License-Identifier: Apache-2.0
"""Builds where something is short: the network, memory, room on a disk, the patience of the user."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from image.cache import locate_cache
from image.mkosi import FIRST_PHASE
from memorylimit import limit_memory

pytestmark = pytest.mark.full

PROJECT = Path(__file__).parent.parent
GIB = 1 << 30
WITHOUT_NETWORK = ("unshare", "--net")


@pytest.fixture(scope="module")
def cache() -> Path:
    """The cache that `./build.py test` has filled, or is filled here where it was removed since."""
    cache = locate_cache(PROJECT)
    if not (cache / "trees/vm.seal").exists():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            done = run("--profile", "vm", "--output", f"{folder}/vm")
        assert done.returncode == 0, done.stderr
    return cache


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder for artefacts on the disk of the checkout; /tmp may be small."""
    (PROJECT / "out").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROJECT / "out", prefix="test-shortage-") as folder:
        yield Path(folder)


def compose(*arguments: str, before: tuple[str, ...] = ()) -> list[str]:
    return [*before, str(PROJECT / "build.py"), *arguments]


def run(*arguments: str, before: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Run build.py as a user does, behind the commands `before`."""
    return subprocess.run(
        compose(*arguments, before=before),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def interfere(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """Start a build and run the block when mkosi is at work in it."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith(f"done {FIRST_PHASE}"):
                yield process
                return
        pytest.fail(f"the build ended before mkosi was at work: {''.join(lines)}")


def find_processes(mark: str) -> list[str]:
    """Return the command lines of all processes that have `mark` in it."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # It ended while we looked.
        if mark in text:
            found.append(text)
    return found


def test_the_same_bytes_come_out_again_without_network_and_in_4_gib(cache: Path) -> None:
    with limit_memory(4 * GIB) as limit:
        done = run("reproduce", "--profile", "vm", before=(*limit.command, *WITHOUT_NETWORK))
        assert limit.count_kills() == 0
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    last = done.stdout.splitlines()[-1]
    assert last.startswith("identical: ")
    assert "signatures included" in last


def test_with_a_warm_cache_a_change_is_built_without_network(cache: Path, place: Path) -> None:
    output = place / "vm"
    done = run("--profile", "vm", "--version", "9.9.9", "--output", str(output), before=WITHOUT_NETWORK)
    assert done.returncode == 0, done.stderr
    assert (output / "cluster-os_9.9.9-dev_vm.raw").exists()
    assert run("verify", str(output)).returncode == 0


def test_a_full_disk_under_the_build_is_told_and_the_cache_stays_warm(cache: Path, place: Path) -> None:
    seal = (cache / "trees/vm.seal").read_bytes()
    (cache / "build").mkdir(exist_ok=True)
    small = f'mount -t tmpfs -o size=32M tmpfs {cache}/build; exec "$@"'
    done = run(
        *("--profile", "vm", "--version", "9.9.9", "--output", str(place / "vm")),
        before=("unshare", "--mount", "sh", "-ec", small, "sh"),
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert lines[-2].startswith("error: building profile vm failed: ")
    assert "No space left on device" in lines[-2]
    assert lines[-1].startswith("hint: make room on the disk and try again; the full log is ")
    assert list(place.iterdir()) == []
    assert (cache / "trees/vm.seal").read_bytes() == seal


def test_a_disk_that_fills_up_under_the_output_leaves_the_former_artefacts(cache: Path, place: Path) -> None:
    script = f"""
        mount -t tmpfs -o size=9G tmpfs {place}
        mkdir {place}/vm
        echo former >{place}/vm/artefact
        "$@" || echo "status $?"
        cat {place}/vm/artefact
        ls -A {place}
    """
    command = compose(
        *("--profile", "vm", "--version", "9.9.9", "--output", str(place / "vm")),
        before=("unshare", "--mount", "sh", "-ec", script, "sh"),
    )
    with interfere(command) as process:
        fill = ["nsenter", f"--target={process.pid}", "--mount"]
        subprocess.run([*fill, "mount", "-o", "remount,size=64K", str(place)], check=True)
        out, err = process.communicate()
    assert out.splitlines() == ["status 1", "former", "vm"]
    lines = err.splitlines()
    assert lines[-2].startswith(f"error: {place}/.vm.new/")
    assert lines[-2].endswith(": No space left on device")
    assert lines[-1] == "hint: make room on the disk and try again"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_no_artefact_and_no_process(
    cache: Path, place: Path, number: signal.Signals
) -> None:
    name = f"interrupted-{os.getpid()}"
    command = compose("--profile", "vm", "--version", "9.9.9", "--output", str(place / name))
    with interfere(command) as process:
        assert find_processes(f"build/{name}/workspace") != []
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted: nothing was changed in the output"
    assert list(place.iterdir()) == []
    assert not (cache / "build" / name).exists()
    assert find_processes(f"build/{name}") == []
