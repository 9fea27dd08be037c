# SPDX-License-Identifier: Apache-2.0
"""A root file system that was tampered with is not run."""

import re
import subprocess

import pytest

from harness import disks
from harness.lab import Lab
from harness.model import NodeSpec
from image.partitions import read_partitions
from image.toolstree import ToolsTree

VICTIM = "/usr/lib/systemd/systemd"
# dump.erofs lists an extent as `0:  0.. 12576 | 12576 : 86724608.. 86728704 | 4096`: logical | physical.
_EXTENT = re.compile(r":\s*\d+\.\.\s*\d+\s*\|\s*\d+\s*:\s*(\d+)\.\.")


def find_in_root(tools: ToolsTree, disk: str, root_offset: int, path: str) -> int:
    """Return where in the root file system the content of a file begins, in bytes (dump.erofs)."""
    argv = ["dump.erofs", f"--offset={root_offset}", f"--path={path}", "-e", disk]
    done = subprocess.run(tools.command(argv), capture_output=True, text=True, check=False)
    found = _EXTENT.search(done.stdout)
    assert found, f"{done.stdout}\n{done.stderr}"
    return int(found[1])


@pytest.mark.console("dm-verity", "panic")
def test_a_flipped_bit_in_the_root_is_not_run(lab: Lab, tools: ToolsTree) -> None:
    machine = lab.make(NodeSpec("node1"))
    table = read_partitions(lab.group.base)
    root = next(partition for partition in table.partitions if partition.type == "root-x86-64")
    offset = root.offset + find_in_root(tools, str(lab.group.base), root.offset, VICTIM)
    with lab.group.base.open("rb") as file:
        file.seek(offset)
        flipped = bytes([file.read(1)[0] ^ 1])
    disks.write_at(tools, machine.paths.disk, offset, flipped)

    lab.start(machine.spec)
    machine.wait_console("device-mapper: verity: .*corrupted")
    machine.wait_console("Kernel panic - not syncing", limit=60)
    said = machine.console_text()
    machine.power_cut()
    assert "login:" not in said
    assert "clusteros-firstboot" not in said, "it went on after the damage"
