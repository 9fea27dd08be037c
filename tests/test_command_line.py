# SPDX-License-Identifier: Apache-2.0
"""What a user of build.py meets: one line what is wrong and one what to do, never a traceback."""

import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.errors import ClusterError
from image.verify import choose_key

PROJECT = Path(__file__).parent.parent


class Silent(SimpleHTTPRequestHandler):
    """A web server that does not write to the terminal."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def empty_mirror(tmp_path: Path) -> Iterator[str]:
    """A server on loopback that answers 404 to everything."""
    (tmp_path / "web").mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path / "web")))
    thread = threading.Thread(target=partial(http.serve_forever, poll_interval=0.05))
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/debian"
    http.shutdown()
    thread.join()
    http.server_close()


def build(*arguments: str, cache: Path | None = None, before: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    """Run build.py as a user does; returns exit status and the lines of standard error."""
    done = subprocess.run(
        [*before, str(PROJECT / "build.py"), *arguments],
        env={**os.environ, **({"CLUSTEROS_CACHE": str(cache)} if cache else {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()


def with_mount(mount: str) -> tuple[str, ...]:
    """Return what runs build.py where `mount`, a command, was run, which nobody else sees."""
    return ("unshare", "--mount", "sh", "-ec", f'{mount}; exec "$@"', "sh")


def test_an_unknown_profile_is_refused() -> None:
    status, lines = build("--profile", "vn")
    assert status == 1
    assert lines[-2:] == [
        "error: there is no profile 'vn'",
        "hint: choose one of: node, hpc-node, kube-node, hpc-kube-node, vm, hpc, kube, hpc-kube",
    ]


def test_missing_keys_are_refused(tmp_path: Path) -> None:
    status, lines = build("--profile", "vm", "--keys", str(tmp_path / "none"))
    assert status == 1
    assert lines[-2].startswith("error: there is no folder ")
    assert lines[-1].startswith("hint: make a set of keys")


def test_an_output_that_cannot_be_written_is_refused() -> None:
    status, lines = build("--profile", "vm", "--output", "/proc/out/vm")
    assert status == 1
    assert lines[-2].startswith("error: cannot write the output folder /proc/out")


def test_an_output_on_a_read_only_disk_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    read_only = f"mount -t tmpfs -o ro,size=1M tmpfs {tmp_path}/disk"
    status, lines = build(
        "--profile", "vm", "--output", str(tmp_path / "disk/vm"), before=with_mount(read_only)
    )
    assert status == 1
    assert lines[-2] == f"error: cannot write the output folder {tmp_path}/disk: Read-only file system"
    assert lines[-1] == "hint: give another with --output DIR"


def test_an_output_on_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    small = f"mount -t tmpfs -o size=1M tmpfs {tmp_path}/disk"
    status, lines = build("--profile", "vm", "--output", str(tmp_path / "disk/vm"), before=with_mount(small))
    assert status == 1
    assert lines[-2] == f"error: building needs 8 GiB of free disk, and {tmp_path}/disk has 0.0 GiB"
    assert lines[-1].startswith("hint: make room")


def test_a_full_disk_under_the_cache_is_told(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    full = f"mount -t tmpfs -o size=64K tmpfs {tmp_path}/disk"
    status, lines = build("--profile", "vm", cache=tmp_path / "disk/cache", before=with_mount(full))
    assert status == 1
    assert "No space left on device" in lines[-2]
    assert lines[-1].startswith("hint: make room on the disk and try again")


def test_artefacts_without_a_key_to_trust_are_not_verified(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no release key to check against") as caught:
        choose_key(None, tmp_path / "release.pub")
    assert "--key PUBKEY" in caught.value.hint
    given = tmp_path / "given.pub"
    assert choose_key(given, tmp_path / "release.pub") == given


def test_verification_without_a_key_trusts_the_development_key_alone(tmp_path: Path) -> None:
    (tmp_path / "release.pub").touch()
    assert choose_key(None, tmp_path / "release.pub") == tmp_path / "release.pub"


def test_development_keys_make_no_release() -> None:
    status, lines = build("--profile", "vm", "--release")
    assert status == 1
    assert lines[-2] == "error: --release refuses development keys"


def test_an_old_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    status, lines = build("reproduce", "--against", str(tmp_path / "manifest.json"))
    assert status == 1
    assert "is not a manifest" in lines[-2]


def test_a_mirror_that_answers_404_is_told(empty_mirror: str, tmp_path: Path) -> None:
    status, lines = build("--profile", "vm", "--mirror", empty_mirror, cache=tmp_path / "cache")
    assert status == 1
    assert f"error: reading {empty_mirror} failed: 404" in lines[-2]
    assert "--mirror URL" in lines[-1]
    assert not (tmp_path / "cache/pip").exists()


def test_a_cold_cache_without_network_is_told(tmp_path: Path) -> None:
    status, lines = build("--profile", "vm", cache=tmp_path / "cache", before=("unshare", "--net"))
    assert status == 1
    assert lines[-2].startswith("error: reading ")
    assert "check the network" in lines[-1]


@pytest.mark.parametrize(
    "arguments", [(), ("--no-such-option",), ("--profile", "vm", "profiles"), ("nonsense",)]
)
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert build(*arguments)[0] == 2


def test_an_unknown_vm_is_told() -> None:
    status, lines = build("vm", "exec", "node99", "--", "true")
    assert status == 1
    assert lines[-2].startswith("error: ")
    assert lines[-1].startswith("hint: ")
