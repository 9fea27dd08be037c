# SPDX-License-Identifier: Apache-2.0
"""External assets: fetched and checked, or given; nothing else comes into an image."""

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.errors import ClusterError
from image.assets import (
    GIVEN,
    Asset,
    collect_assets,
    collect_recorded,
    hash_of,
    locate,
    parse_given,
    read_assets,
    stage_assets,
)
from image.licences import is_spdx
from image.profiles import list_profiles

PROJECT = Path(__file__).parent.parent
CONTENT = b"a program\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves `content` for every path, or the status `fails`; counts requests."""

    def __init__(self) -> None:
        self.content, self.fails, self.asked = CONTENT, 0, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                self.send_response(outer.fails or 200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                self.wfile.write(outer.content)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1.0%2Bx/tool"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def asset(url: str) -> Asset:
    return Asset("tool", "v1.0+x", url, SHA256, "Apache-2.0", ("kube",), "/usr/lib/x/tool", executable=True)


def test_an_asset_is_fetched_once_and_laid_out_as_the_image_has_it(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        (record,) = collect_assets([asset(server.url)], "kube", {}, tmp_path)
    assert server.asked == 1
    assert (record.sha256, record.size, record.version) == (SHA256, len(CONTENT), "v1.0+x")
    tree = stage_assets([record], tmp_path, tmp_path / "tree")
    made = tree / "usr/lib/x/tool"
    assert made.read_bytes() == CONTENT
    assert made.stat().st_mode & 0o777 == 0o755
    assert collect_assets([asset(server.url)], "vm", {}, tmp_path) == ()


def test_other_content_than_was_recorded_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.content = b"something else"
    with pytest.raises(ClusterError, match=f"has SHA-256 [0-9a-f]{{64}}, not {SHA256}") as caught:
        collect_assets([asset(server.url)], "kube", {}, tmp_path)
    assert "./build.py --asset tool=FILE --profile kube" in caught.value.hint
    assert list((tmp_path / "assets").iterdir()) == []


def test_what_is_damaged_in_the_cache_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (record,) = collect_assets([asset(server.url)], "kube", {}, tmp_path)
    locate(record, tmp_path).write_bytes(b"damaged")
    collect_assets([asset(server.url)], "kube", {}, tmp_path)
    assert locate(record, tmp_path).read_bytes() == CONTENT


def test_what_cannot_be_fetched_is_told_in_one_line_with_what_to_do(server: Server, tmp_path: Path) -> None:
    server.fails = 404
    with pytest.raises(ClusterError) as caught:
        collect_assets([asset(server.url)], "kube", {}, tmp_path)
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(ClusterError) as refused:
        collect_assets([asset(server.url)], "kube", {}, tmp_path)
    for error in (caught.value, refused.value):
        assert error.message.startswith(f"the asset tool v1.0+x cannot be fetched from {server.url}: ")
        assert "\n" not in error.message + error.hint
        assert error.hint.endswith("elsewhere: ./build.py --asset tool=FILE --profile kube")


def test_all_that_is_missing_is_told_at_once(server: Server, tmp_path: Path) -> None:
    server.fails = 503
    second = asset(server.url)._replace(name="second", sha256="f" * 64)
    with pytest.raises(ClusterError) as caught:
        collect_assets([asset(server.url), second], "kube", {}, tmp_path)
    assert "--asset tool=FILE --asset second=FILE --profile kube" in caught.value.hint


def test_a_file_that_was_given_is_taken_and_named_for_what_it_is(tmp_path: Path) -> None:
    nowhere = asset("https://example.org/tool")
    (tmp_path / "same").write_bytes(CONTENT)
    (tmp_path / "other").write_bytes(b"mine")
    (same,) = collect_assets([nowhere], "kube", {"tool": tmp_path / "same"}, tmp_path)
    assert same == nowhere.record(len(CONTENT))
    (other,) = collect_assets([nowhere], "kube", {"tool": tmp_path / "other"}, tmp_path)
    assert (other.version, other.url, other.licence) == (GIVEN, "", "")
    assert other.sha256 == hashlib.sha256(b"mine").hexdigest()
    assert locate(other, tmp_path).read_bytes() == b"mine"
    with pytest.raises(ClusterError, match=r"cannot read the asset .*none: no such file"):
        collect_assets([nowhere], "kube", {"tool": tmp_path / "none"}, tmp_path)
    with pytest.raises(ClusterError, match="profile vm has no asset tool"):
        collect_assets([nowhere], "vm", {"tool": tmp_path / "same"}, tmp_path)


def test_a_recorded_asset_is_had_again_from_cache_network_or_hand(server: Server, tmp_path: Path) -> None:
    record = asset(server.url).record(len(CONTENT))
    assert collect_recorded([record], {}, tmp_path) == (record,)
    assert hash_of(locate(record, tmp_path)) == SHA256
    given = replace(record, url="")
    assert collect_recorded([given], {}, tmp_path) == (given,)
    empty = tmp_path / "empty"
    with pytest.raises(ClusterError, match="was given by hand, is not at hand") as caught:
        collect_recorded([given], {}, empty)
    assert SHA256 in caught.value.hint
    (tmp_path / "file").write_bytes(CONTENT)
    assert collect_recorded([given], {"tool": tmp_path / "file"}, empty) == (given,)
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(ClusterError, match="is not at hand"):
        collect_recorded([given], {"tool": tmp_path / "file"}, tmp_path / "new")


@pytest.mark.parametrize("texts", [["k3s"], ["=x"], ["k3s="], ["k3s=a", "k3s=b"]])
def test_what_is_no_asset_on_the_command_line_is_told(texts: list[str]) -> None:
    with pytest.raises(ClusterError, match="--asset"):
        parse_given(texts)
    assert parse_given(["a=b=c"]) == {"a": Path("b=c")}


def test_the_assets_of_the_project_are_right() -> None:
    found = read_assets(PROJECT)
    assert {each.name for each in found} >= {"k3s", "k3s-images"}
    for each in found:
        assert set(each.profiles) <= list_profiles(PROJECT).keys()
        assert is_spdx(each.licence)
        assert each.url.startswith("https://")
        version = re.escape(each.version.replace("+", "%2B"))
        assert re.search(version, each.url), "an address without a version gives other bytes one day"


def test_all_errors_of_assets_yaml_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    file = tmp_path / "image/assets.yaml"
    file.write_text("version: 2\nassets: [{name: K3S, sha256: abc, path: /etc/x}]\n")
    with pytest.raises(ClusterError) as caught:
        read_assets(tmp_path)
    for words in (
        "version: must be 1",
        "assets[0].name",
        "assets[0].sha256",
        "assets[0].path",
        "licence: missing",
    ):
        assert words in caught.value.message
    for text in ("[", "", "version: 1\nassets: 5"):
        file.write_text(text)
        with pytest.raises(ClusterError, match=r"assets\.yaml"):
            read_assets(tmp_path)
