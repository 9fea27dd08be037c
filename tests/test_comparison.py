# SPDX-License-Identifier: Apache-2.0
"""A difference between two builds is shown by file inside the image."""

import subprocess
from pathlib import Path

import pytest

from image.comparison import compare_roots, compare_trees
from image.toolstree import ToolsTree


@pytest.fixture
def roots(tmp_path: Path, tools: ToolsTree) -> tuple[Path, Path]:
    """Two erofs images that differ in four ways."""
    images = []
    for name in ("one", "two"):
        tree = tmp_path / f"tree-{name}"
        (tree / "etc").mkdir(parents=True)
        (tree / "etc/same").write_text("same")
        (tree / "etc/content").write_text(name)
        (tree / "etc/link").symlink_to(name)
        (tree / "etc/mode").touch(0o600 if name == "one" else 0o644)
        (tree / f"etc/only-{name}").touch()
        image = tmp_path / f"{name}.erofs"
        subprocess.run(tools.command(["mkfs.erofs", "-T0", image, tree]), check=True, capture_output=True)
        images.append(image)
    return images[0], images[1]


def test_differences_are_named_by_file(roots: tuple[Path, Path], tools: ToolsTree, tmp_path: Path) -> None:
    found = {each.name: each.detail for each in compare_roots(*roots, tools, tmp_path / "scratch")}
    assert set(found) == {"etc/content", "etc/link", "etc/mode", "etc/only-one", "etc/only-two"}
    assert found["etc/link"] == "expected link to one, found link to two"
    assert found["etc/only-two"].startswith("expected not there")
    assert "-rw-------" in found["etc/mode"]


def test_equal_roots_do_not_differ(roots: tuple[Path, Path], tools: ToolsTree, tmp_path: Path) -> None:
    assert compare_roots(roots[0], roots[0], tools, tmp_path / "scratch") == []


def test_equal_descriptions_do_not_differ() -> None:
    assert compare_trees({"a": "x"}, {"a": "x"}) == []
