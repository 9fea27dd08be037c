# SPDX-License-Identifier: Apache-2.0
"""The cache: whole or not there, and damage is noticed."""

import os
import threading
from pathlib import Path

import pytest

from agent.errors import ClusterError
from image.cache import check_seal, digest_files, locate_cache, lock_cache, make_tree, remove_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A sealed tree with two files."""
    path = tmp_path / "tools"

    def fill(new: Path) -> None:
        (new / "usr").mkdir()
        (new / "usr/program").write_text("run")
        (new / "link").symlink_to("usr/program")

    make_tree(path, "inputs", fill)
    return path


def test_a_sealed_tree_is_intact(tree: Path) -> None:
    assert check_seal(tree, "inputs") == ""


def test_other_inputs_make_a_tree_out_of_date(tree: Path) -> None:
    assert check_seal(tree, "other") == "out of date"


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "add", "relink", "mode"])
def test_damage_to_a_tree_is_noticed(tree: Path, damage: str) -> None:
    file = tree / "usr/program"
    if damage == "truncate":
        os.truncate(file, 1)
    elif damage == "flip":
        file.write_text("rum")
    elif damage == "delete":
        file.unlink()
    elif damage == "add":
        (tree / "usr/other").touch()
    elif damage == "relink":
        (tree / "link").unlink()
        (tree / "link").symlink_to("usr/other")
    else:
        file.chmod(0o4755)
    assert check_seal(tree, "inputs") == "damaged"


def test_byte_code_that_python_writes_is_no_damage(tree: Path) -> None:
    (tree / "usr/__pycache__").mkdir()
    (tree / "usr/__pycache__/program.pyc").touch()
    assert check_seal(tree, "inputs") == ""


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"'])
def test_a_damaged_seal_counts_as_damage(tree: Path, content: str) -> None:
    tree.with_name("tools.seal").write_text(content)
    assert check_seal(tree, "inputs") == "damaged"


def test_a_tree_that_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fail(new: Path) -> None:
        (new / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_tree(tmp_path / "tools", "inputs", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_removed_tree_is_missing(tree: Path) -> None:
    remove_tree(tree)
    assert check_seal(tree, "inputs") == "missing"


def test_digest_depends_on_content_name_and_executable_bit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    seen = {digest_files([tmp_path], base=tmp_path)}
    file.write_text("2")
    seen.add(digest_files([tmp_path], base=tmp_path))
    file.chmod(0o755)
    seen.add(digest_files([tmp_path], base=tmp_path))
    file.rename(tmp_path / "b")
    seen.add(digest_files([tmp_path], base=tmp_path))
    assert len(seen) == 4


def test_the_variable_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTEROS_CACHE", str(tmp_path / "shared"))
    assert locate_cache(tmp_path / "project") == tmp_path / "shared"


def test_a_cache_that_cannot_be_made_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTEROS_CACHE", "/proc/cache")
    with pytest.raises(ClusterError, match="cannot write the cache folder /proc/cache") as caught:
        locate_cache(Path("/nowhere"))
    assert "CLUSTEROS_CACHE" in caught.value.hint


def test_a_second_builder_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    entered = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    def second() -> None:
        with lock_cache(tmp_path, say):
            entered.set()

    waiting = threading.Event()
    with lock_cache(tmp_path, said.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        assert not entered.is_set()
    thread.join(10)
    assert entered.is_set()
    assert "waiting" in said[0]
