# SPDX-License-Identifier: Apache-2.0
"""Which image `vm up` takes when none is named, and which one it refuses."""

import json
import os
from pathlib import Path

import pytest

from agent.errors import ClusterError
from harness.disks import check_guest_agent, find_profile
from image.cache import seal_tree, touch_seal


def build(output: Path, profile: str, when: float, *packages: str) -> Path:
    """Lay out a profile as a build at `when` leaves it."""
    folder = output / profile
    folder.mkdir()
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"packages": [{"name": name} for name in packages]}))
    seal_tree(folder, "")
    for path in (manifest, output / f"{profile}.seal"):
        os.utime(path, (when, when))
    return folder


def test_the_profile_built_last_is_taken_and_vm_without_any(tmp_path: Path) -> None:
    assert find_profile(tmp_path) == "vm"
    build(tmp_path, "vm", 1000.0, "bash", "qemu-guest-agent")
    build(tmp_path, "hpc", 2000.0, "qemu-guest-agent")
    assert find_profile(tmp_path) == "hpc"


def test_a_build_that_had_nothing_to_do_counts(tmp_path: Path) -> None:
    folder = build(tmp_path, "vm", 1000.0, "qemu-guest-agent")
    build(tmp_path, "hpc", 2000.0, "qemu-guest-agent")
    touch_seal(folder)
    assert find_profile(tmp_path) == "vm"


def test_an_image_for_bare_metal_is_not_taken_and_refused_by_name(tmp_path: Path) -> None:
    good = build(tmp_path, "vm", 1000.0, "qemu-guest-agent")
    metal = build(tmp_path, "hpc-node", 2000.0, "bash")
    assert find_profile(tmp_path) == "vm"
    check_guest_agent(good)
    with pytest.raises(ClusterError, match="profile hpc-node has no qemu-guest-agent"):
        check_guest_agent(metal)


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"packages": 1}', b"\xff"])
def test_a_manifest_that_cannot_be_read_is_passed_over(tmp_path: Path, damaged: bytes) -> None:
    folder = build(tmp_path, "hpc", 2000.0, "qemu-guest-agent")
    (folder / "manifest.json").write_bytes(damaged)
    assert find_profile(tmp_path) == "vm"
