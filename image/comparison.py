# SPDX-License-Identifier: Apache-2.0
"""Compare a second build with the first, and show what differs by file inside the image."""

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from image.checksums import hash_file
from image.manifest import Manifest
from image.pe import drop_signature, read_sections
from image.toolstree import ToolsTree

_SIGNATURES = (".pcrsig", ".pcrpkey")  # sections that hold signatures and keys
_SHOWN = 40  # differing files of the root that are listed
_EXPLAINED = 3  # differing files that diffoscope, where it is installed, shows inside
_EXPLANATION = 2000  # characters of that


@dataclass(frozen=True)
class Difference:
    """What differs: an artefact, a section of it, or a file inside it; `detail` says how."""

    name: str
    detail: str


def compare_digests(expected: str, found: str) -> str:
    """Return how two digests differ, "" when they do not."""
    return "" if expected == found else f"expected SHA-256 {expected[:16]}…, found {found[:16]}…"


def compare_trees(expected: dict[str, str], found: dict[str, str]) -> list[Difference]:
    """Compare the files of two trees, each given as a description by path."""
    differences = []
    for path in sorted({*expected, *found}):
        before, after = expected.get(path, "not there"), found.get(path, "not there")
        if before != after:
            differences.append(Difference(path, f"expected {before}, found {after}"))
    return differences


def describe_tree(root: Path) -> dict[str, str]:
    """Return type, mode, owner and content of each file below `root`, by path."""

    def describe(path: Path) -> str:
        info = path.lstat()
        mode = stat.filemode(info.st_mode)
        if path.is_symlink():
            return f"link to {path.readlink()}"
        content = f" SHA-256 {hash_file(path)[:16]}…" if stat.S_ISREG(info.st_mode) else ""
        return f"{mode} {info.st_uid}:{info.st_gid}{content}"

    return {str(path.relative_to(root)): describe(path) for path in _walk(root)}


def _walk(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        yield from (Path(folder, name) for name in (*names, *files))


def compare_roots(expected: Path, found: Path, tools: ToolsTree, scratch: Path) -> list[Difference]:
    """Unpack two root partitions (erofs) and return the files in which they differ."""
    trees = []
    for name, image in (("expected", expected), ("found", found)):
        tree = scratch / name
        shutil.rmtree(tree, ignore_errors=True)
        tree.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            tools.command(["fsck.erofs", f"--extract={tree}", image]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        trees.append(tree)
    differences = compare_trees(describe_tree(trees[0]), describe_tree(trees[1]))
    explained = [_explain(each, trees[0], trees[1]) for each in differences[:_EXPLAINED]]
    return [*explained, *differences[_EXPLAINED:_SHOWN]]


def _explain(difference: Difference, expected: Path, found: Path) -> Difference:
    """Add diffoscope's view of a differing file, where diffoscope is installed."""
    program = shutil.which("diffoscope")
    pair = [tree / difference.name for tree in (expected, found)]
    if not program or not all(path.is_file() for path in pair):
        return difference
    shown = subprocess.run(
        [program, "--text", "-", *map(str, pair)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    ).stdout
    return Difference(difference.name, f"{difference.detail}\n{shown[:_EXPLANATION]}")


def compare_artefacts(
    expected: Path, found: Path, manifest: Manifest, tools: ToolsTree, scratch: Path, *, signed: bool
) -> tuple[int, list[Difference]]:
    """Compare mkosi's files in `found` with the record of `manifest`, whose files lie in `expected`.

    With `signed`, every byte counts. Otherwise signatures and what holds them are left out: the disk image
    and the signature partition altogether, in the kernel image the signature of each part. Returns how many
    artefacts were compared, and the differences.
    """
    count, differences = 0, []
    roles = (
        ("disk", "kernel", "root", "root-verity", "root-verity-sig") if signed else ("root", "root-verity")
    )
    for role in roles:
        artefact = manifest.find_artefact(role)
        if artefact is None:
            continue
        count += 1
        made = found / artefact.name
        if detail := compare_digests(artefact.sha256, hash_file(made)):
            differences.append(Difference(artefact.name, detail))
            if role == "root" and (expected / artefact.name).exists():
                differences += compare_roots(expected / artefact.name, made, tools, scratch)
    kernel = manifest.find_artefact("kernel")
    if not signed and kernel and (expected / kernel.name).exists():
        count += 1
        differences += compare_kernels(expected / kernel.name, found / kernel.name)
    return count, differences


def compare_kernels(expected: Path, found: Path) -> list[Difference]:
    """Compare two unified kernel images section by section, without their signatures."""
    sections = [describe_sections(path) for path in (expected, found)]
    return [
        Difference(f"{expected.name} section {each.name}", each.detail)
        for each in compare_trees(sections[0], sections[1])
    ]


def describe_sections(kernel: Path) -> dict[str, str]:
    """Return a digest of each section of a unified kernel image that does not depend on the signing keys."""
    described = {}
    for name, content in read_sections(kernel.read_bytes(), kernel.name).items():
        if name in _SIGNATURES:
            continue
        plain = drop_signature(content, f"{kernel.name} {name}") if name == ".linux" else content
        described[name] = f"SHA-256 {hashlib.sha256(plain).hexdigest()[:16]}…"
    return described
