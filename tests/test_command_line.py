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


def test_an_unknown_profile_is_refused() -> None:
    status, lines = build("--profile", "vn")
    assert status == 1
    assert lines[-2:] == ["error: there is no profile 'vn'", "hint: choose one of: node, vm"]


def test_missing_keys_are_refused(tmp_path: Path) -> None:
    status, lines = build("--profile", "vm", "--keys", str(tmp_path / "none"))
    assert status == 1
    assert lines[-2].startswith("error: there is no folder ")
    assert lines[-1].startswith("hint: make a set of keys")


def test_an_output_that_cannot_be_written_is_refused() -> None:
    status, lines = build("--profile", "vm", "--output", "/proc/out/vm")
    assert status == 1
    assert lines[-2].startswith("error: cannot write the output folder /proc/out")


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
