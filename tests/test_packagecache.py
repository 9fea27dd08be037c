# SPDX-License-Identifier: Apache-2.0
"""Damaged packages in the cache are noticed, which apt does not do."""

import hashlib
from pathlib import Path

import pytest

from image.packagecache import check_archives, locate_archives, seal_archives

CONTENT = b"a package of some length"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with one good package and one that no list knows."""
    archives, lists = locate_archives(tmp_path), tmp_path / "packages/lib/apt/lists"
    archives.mkdir(parents=True)
    lists.mkdir(parents=True)
    (archives / "one_1%3a2.0~rc1-1_amd64.deb").write_bytes(CONTENT)
    (archives / "old_1_all.deb").write_bytes(CONTENT)
    (lists / "mirror.example.org_debian_dists_trixie_main_binary-amd64_Packages").write_text(
        "Package: one\nVersion: 1:2.0~rc1-1\nArchitecture: amd64\nFilename: pool/main/o/one.deb\n"
        f"Size: {len(CONTENT)}\nSHA256: {hashlib.sha256(CONTENT).hexdigest()}\n"
    )
    return tmp_path


def check(cache: Path) -> tuple[list[str], list[str]]:
    """Return what was said, and which packages are left."""
    said: list[str] = []
    check_archives(cache, said.append)
    return said, sorted(file.name for file in locate_archives(cache).glob("*.deb"))


def test_good_and_unknown_packages_are_left_alone(cache: Path) -> None:
    assert check(cache) == ([], ["old_1_all.deb", "one_1%3a2.0~rc1-1_amd64.deb"])


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT.swapcase()])
def test_a_damaged_package_is_removed_and_told(cache: Path, content: bytes) -> None:
    seal_archives(cache)
    (locate_archives(cache) / "one_1%3a2.0~rc1-1_amd64.deb").write_bytes(content)
    said, left = check(cache)
    assert left == ["old_1_all.deb"]
    assert "is damaged" in said[0]


def test_an_empty_cache_is_fine(tmp_path: Path) -> None:
    check_archives(tmp_path, pytest.fail)
