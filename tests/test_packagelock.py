# SPDX-License-Identifier: Apache-2.0
"""Recorded packages are taken by digest, from wherever they are, and never anything else."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.errors import ClusterError
from image.manifest import Package
from image.mirror import Mirror
from image.packagelock import collect_packages, list_snapshots, read_snapshot_patterns
from image.toolstree import ToolsTree

CONTENT = b"the package"


def record(name: str, version: str = "1:1.0-1", content: bytes = CONTENT) -> Package:
    """A record of a package with `content`."""
    digest = hashlib.sha256(content).hexdigest()
    return Package(name, version, "amd64", name, version, f"pool/main/{name}.deb", len(content), digest)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A mirror on loopback and the folder that it serves."""
    root = tmp_path / "mirror"
    (root / "pool/main").mkdir(parents=True)
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(root)))
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", root
    http.shutdown()
    thread.join()
    http.server_close()


def collect(
    pool: Path, *packages: Package, cache: Path, mirror: str = "", snapshots: tuple[str, ...] = ()
) -> None:
    collect_packages(packages, pool, caches=[cache], mirror=Mirror(mirror), snapshots=snapshots, jobs=2)


def test_a_package_in_the_cache_is_taken_from_there(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/one_1%3a1.0-1_amd64.deb").write_bytes(CONTENT)
    collect(tmp_path / "pool", record("one"), cache=tmp_path / "cache")
    assert (tmp_path / "pool/one_1%3a1.0-1_amd64.deb").read_bytes() == CONTENT


def test_a_damaged_package_in_the_cache_is_fetched_anew(tmp_path: Path, server: tuple[str, Path]) -> None:
    url, root = server
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/one_1%3a1.0-1_amd64.deb").write_bytes(CONTENT[:-1] + b"?")
    (root / "pool/main/one.deb").write_bytes(CONTENT)
    collect(tmp_path / "pool", record("one"), cache=tmp_path / "cache", mirror=url)
    assert (tmp_path / "pool/one_1%3a1.0-1_amd64.deb").read_bytes() == CONTENT


def test_the_snapshot_archive_is_the_last_resort(tmp_path: Path, server: tuple[str, Path]) -> None:
    url, root = server
    (root / "snapshot/pool/main").mkdir(parents=True)
    (root / "snapshot/pool/main/one.deb").write_bytes(CONTENT)
    collect(
        tmp_path / "pool", record("one"), cache=tmp_path / "none", mirror=url, snapshots=(f"{url}/snapshot",)
    )
    assert len(list((tmp_path / "pool").iterdir())) == 1


@pytest.mark.parametrize("served", [b"", CONTENT[:4], b"another pkg"])
def test_a_truncated_or_foreign_download_is_thrown_away(
    tmp_path: Path, server: tuple[str, Path], served: bytes
) -> None:
    url, root = server
    (root / "pool/main/one.deb").write_bytes(served)
    with pytest.raises(ClusterError, match=r"1 of 1 recorded packages are not to be had: one 1:1\.0-1"):
        collect(tmp_path / "pool", record("one"), cache=tmp_path / "none", mirror=url)
    assert list((tmp_path / "pool").iterdir()) == []


def test_all_missing_packages_are_listed(tmp_path: Path, server: tuple[str, Path]) -> None:
    url, root = server
    (root / "pool/main/two.deb").write_bytes(CONTENT)
    packages = [record(name) for name in ("one", "two", "three")]
    with pytest.raises(ClusterError, match=r"2 of 3 .* one 1:1\.0-1, three 1:1\.0-1") as caught:
        collect(tmp_path / "pool", *packages, cache=tmp_path / "none", mirror=url)
    assert "--mirror" in caught.value.hint


def test_snapshot_urls_come_from_apts_own_configuration(tools: ToolsTree) -> None:
    urls = list_snapshots(tools, 1_700_000_000)
    assert any("/debian/20231115T041320Z" in url for url in urls), urls
    assert any("/debian-security/" in url for url in urls), urls


def test_other_snapshot_settings_are_left_alone() -> None:
    text = 'Acquire::Snapshots::URI::Origin::Other "https://old.example.org/@SNAPSHOTID@/";'
    assert read_snapshot_patterns(text) == []
