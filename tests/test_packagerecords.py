# SPDX-License-Identifier: Apache-2.0
"""Records of packages are remembered as long as the lists are the same, and damage is noticed."""

from pathlib import Path

import pytest

from image.packagerecords import recall_packages
from image.packages import Installed

INSTALLED = [Installed("hello", "1.0-1", "amd64", "hello", "1.0-1")]
STANZA = """\
Package: hello
Version: 1.0-1
Architecture: amd64
Filename: pool/main/h/hello/hello_1.0-1_amd64.deb
Size: {size}
SHA256: {digest}
"""


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """A folder of apt's with one list."""
    (tmp_path / "lists").mkdir()
    write_list(tmp_path / "lists", 5)
    return tmp_path / "lists"


def write_list(lists: Path, size: int) -> None:
    (lists / "mirror_Packages").write_text(STANZA.format(size=size, digest="a" * 64))


def test_what_was_read_once_is_known_without_reading_again(lists: Path, tmp_path: Path) -> None:
    first = recall_packages(INSTALLED, lists, tmp_path / "records/vm.json")
    before = (tmp_path / "records/vm.json").stat()
    assert recall_packages(INSTALLED, lists, tmp_path / "records/vm.json") == first
    assert (tmp_path / "records/vm.json").stat() == before
    assert [package.size for package in first] == [5]


def test_other_lists_are_read_anew(lists: Path, tmp_path: Path) -> None:
    recall_packages(INSTALLED, lists, tmp_path / "vm.json")
    write_list(lists, 12345)
    (found,) = recall_packages(INSTALLED, lists, tmp_path / "vm.json")
    assert found.size == 12345


@pytest.mark.parametrize("content", ["", "nonsense\n[]", "flip"])
def test_a_damaged_memory_is_made_anew(lists: Path, tmp_path: Path, content: str) -> None:
    memory = tmp_path / "vm.json"
    expected = recall_packages(INSTALLED, lists, memory)
    good = memory.read_text()
    memory.write_text(good.replace("aaa", "aab") if content == "flip" else content)
    assert recall_packages(INSTALLED, lists, memory) == expected
    assert memory.read_text() == good
