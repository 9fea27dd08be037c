# SPDX-License-Identifier: Apache-2.0
"""Downloads that end too early or bring something else are told, and nothing of them is kept.

These are here and not among the fast tests as apt needs its time to read Debian's real, signed lists.
"""

import hashlib
import re
import shutil
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.errors import ClusterError
from image.cache import make_tree, seal_tree
from image.environment import prepare_python
from image.mirror import RELEASE, Mirror
from image.privateapt import fetch_packages
from image.toolstree import ToolsTree

pytestmark = pytest.mark.full

PACKAGE = "hello"
WHEEL = "hello-1.0-py3-none-any.whl"
REMEDIES = {
    "half": "the download ended early: try again, or give another mirror",
    "other bytes": "what was downloaded is damaged: try again, or give another mirror",
}
Answer = tuple[bytes, int] | None
"""The body of an answer and the length that it claims; None for 404."""


class Handler(BaseHTTPRequestHandler):
    """Answers with what a function says of the path."""

    def __init__(self, answer: Callable[[str], Answer], *args: object) -> None:
        self._answer = answer
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer, and close the connection, whether all was sent or not."""
        found = self._answer(urllib.parse.unquote(self.path))
        if found is None:
            self.send_error(404)
            return
        body, length = found
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/binary")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str], Answer]], str]]:
    """Start servers on loopback; returns the URL of one that answers as a function of paths says."""
    running = []

    def start(answer: Callable[[str], Answer]) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, answer))
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05))
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def archive(tools: ToolsTree) -> dict[str, Path]:
    """Debian's own signed lists, by their paths in an archive, as the cache has them."""
    lists = tools.root.parent / "packages/lib/apt/lists"
    found = {}
    for file in lists.glob("*_dists_*"):
        suite, _, path = file.name.partition("_dists_")[2].partition("_")
        found[f"/debian/dists/{suite}/{path.replace('_', '/')}"] = file
    assert f"/debian/dists/{RELEASE}/InRelease" in found, f"{lists} has no lists: build something first"
    return found


@pytest.fixture
def any_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let apt take lists of any age: a cache may be older than their signatures hold."""
    (tmp_path / "apt.conf").write_text('Acquire::Check-Valid-Until "false";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))


def read_size(archive: dict[str, Path]) -> int:
    """Return the size in bytes that the signed list gives for PACKAGE."""
    text = archive[f"/debian/dists/{RELEASE}/main/binary-amd64/Packages"].read_text()
    found = re.search(rf"^Package: {PACKAGE}$.*?^Size: (\d+)$", text, re.MULTILINE | re.DOTALL)
    assert found
    return int(found[1])


@pytest.mark.usefixtures("any_age")
@pytest.mark.parametrize("sent", REMEDIES)
def test_a_package_that_is_not_the_signed_one_is_refused(
    serve: Callable[[Callable[[str], Answer]], str], archive: dict[str, Path], tmp_path: Path, sent: str
) -> None:
    size = read_size(archive)
    body = bytes(size // 2 if sent == "half" else size)

    def answer(path: str) -> Answer:
        if path.endswith(".deb"):
            return body, size
        file = archive.get(path)
        return (file.read_bytes(), file.stat().st_size) if file else None

    url = f"{serve(answer)}/debian"

    def fetch(new: Path) -> None:
        fetch_packages([PACKAGE], Mirror(url), new, log=tmp_path / "log")

    with pytest.raises(ClusterError, match=f"^downloading {PACKAGE} failed: ") as caught:
        make_tree(tmp_path / "tree", "", fetch)
    assert caught.value.hint.startswith(REMEDIES[sent])
    assert list(tmp_path.glob("tree*")) == []


@pytest.mark.parametrize("sent", REMEDIES)
def test_a_python_package_that_is_not_the_pinned_one_is_refused(
    serve: Callable[[Callable[[str], Answer]], str],
    tools: ToolsTree,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sent: str,
) -> None:
    wheel = b"a wheel" * 4096
    body = wheel[: len(wheel) // 2] if sent == "half" else wheel[::-1]

    def answer(path: str) -> Answer:
        if path.endswith(".whl"):
            return body, len(wheel)
        page = f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()
        return (page, len(page)) if path == "/simple/hello/" else None

    monkeypatch.setenv("PIP_INDEX_URL", f"{serve(answer)}/simple")
    project, cache = tmp_path / "project", tmp_path / "cache"
    requirements = project / "image/python/builder.txt"
    requirements.parent.mkdir(parents=True)
    requirements.write_text(f"hello==1.0 --hash=sha256:{hashlib.sha256(wheel).hexdigest()}\n")
    shutil.copytree(tools.root.parent / "pip", cache / "pip", symlinks=True)
    seal_tree(cache / "pip", RELEASE)
    said: list[str] = []
    with pytest.raises(ClusterError, match=r"^installing builder\.txt .* failed: ") as caught:
        prepare_python(project, cache, Mirror("http://127.0.0.1:9/debian"), said.append)
    assert caught.value.hint.startswith(REMEDIES[sent])
    assert list(cache.glob("python-*")) == []
