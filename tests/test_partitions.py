# SPDX-License-Identifier: Apache-2.0
"""Partition tables are read as systemd-repart writes them, and damaged ones are refused."""

import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from agent.errors import ClusterError
from image.partitions import read_partitions
from image.toolstree import ToolsTree

ROOT = "a024a9ba-a895-40bf-e5cf-bdf2bc91c98a"
SEED = "6f0ad1f1-3d6c-4b9b-8f5e-2f6b1c1a9a70"


@pytest.fixture(params=[512, 4096])
def disk(request: pytest.FixtureRequest, tools: ToolsTree, tmp_path: Path) -> Path:
    """A disk with three partitions, with either sector size."""
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    for name, text in (
        ("1", "Type=esp\nSizeMinBytes=1M\nSizeMaxBytes=1M\n"),
        ("2", f"Type=root-x86-64\nLabel=söme label\nUUID={ROOT}\nSizeMaxBytes=2M\n"),
        ("3", "Type=8da63339-0007-60c0-c436-083ac8230908\nSizeMaxBytes=64K\nSizeMinBytes=64K\n"),
    ):
        (definitions / f"{name}.conf").write_text(f"[Partition]\n{text}")
    disk = tmp_path / "disk.raw"
    command: list[str | Path] = [
        *("systemd-repart", "--empty=create", "--size=auto", "--dry-run=no", "--no-pager", "--offline=yes"),
        *("--seed", SEED, f"--sector-size={request.param}", f"--definitions={definitions}", disk),
    ]
    subprocess.run(tools.command(command), stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return disk


def test_partitions_are_read_with_type_label_and_place(disk: Path) -> None:
    table = read_partitions(disk)
    assert [partition.type for partition in table.partitions] == [
        *("esp", "root-x86-64", "8da63339-0007-60c0-c436-083ac8230908"),
    ]
    esp, root, other = table.partitions
    assert (esp.number, esp.size) == (1, 1 << 20)
    assert (root.label, root.uuid) == ("söme label", ROOT)
    assert root.offset == esp.offset + esp.size
    assert other.size == 65536
    assert other.offset + other.size <= disk.stat().st_size


def test_any_flipped_byte_of_header_or_entries_is_refused(disk: Path) -> None:
    sector = read_partitions(disk).sector_size
    for place in (*range(sector, sector + 92), *range(2 * sector, 2 * sector + 384, 7)):
        with disk.open("r+b") as content:
            content.seek(place)
            byte = content.read(1)
            content.seek(place)
            content.write(bytes([byte[0] ^ 0x10]))
        with pytest.raises(ClusterError, match=r"the partition table of .* is damaged"):
            read_partitions(disk)
        with disk.open("r+b") as content:
            content.seek(place)
            content.write(byte)
    assert len(read_partitions(disk).partitions) == 3


def test_a_partition_outside_of_the_image_is_refused(disk: Path) -> None:
    last = read_partitions(disk).partitions[-1]
    with disk.open("r+b") as content:
        content.truncate(last.offset + last.size - 1)
    with pytest.raises(ClusterError, match="partition 3 lies outside of the image"):
        read_partitions(disk)


def test_a_table_that_claims_to_be_enormous_is_refused(disk: Path) -> None:
    sector = read_partitions(disk).sector_size
    data = bytearray(disk.read_bytes())
    struct.pack_into("<I", data, sector + 80, 0xFFFFFFFF)
    data[sector + 16 : sector + 20] = bytes(4)
    struct.pack_into("<I", data, sector + 16, zlib.crc32(data[sector : sector + 92]))
    disk.write_bytes(data)
    with pytest.raises(ClusterError, match="its header makes no sense"):
        read_partitions(disk)


@pytest.mark.parametrize(
    "content", [b"", bytes(100), bytes(1 << 16), b"EFI PART" * 64, bytes(512) + b"EFI PART"]
)
def test_what_has_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ClusterError, match="it has none"):
        read_partitions(tmp_path / "file")
    with pytest.raises(ClusterError, match="cannot read"):
        read_partitions(tmp_path / "missing")
