# SPDX-License-Identifier: Apache-2.0
"""Read the partition table (GPT) of a raw disk image.

Format: UEFI specification 2.10, chapter 5.3; partition types: https://uapi-group.org/specifications/specs/discoverable_partitions_specification/
"""

import struct
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ClusterError

_SECTOR_SIZES = (512, 4096)
_HEADER = struct.Struct("<8s4sIII QQQQ 16s QIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_LARGEST_TABLE = 1024 * 1024  # bytes; the usual one has 16 kB

TYPES = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "esp",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "root-x86-64",
    "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5": "root-x86-64-verity",
    "41092b05-9fc8-4523-994f-2def0408b176": "root-x86-64-verity-sig",
    "4d21b016-b534-45c2-a9fb-5c16e091fd2d": "var",
}


@dataclass(frozen=True)
class Partition:
    """One partition: `type` is a name of TYPES or a UUID; `offset` and `size` in bytes."""

    number: int
    label: str
    type: str
    uuid: str
    first_lba: int
    last_lba: int
    sector_size: int

    @property
    def offset(self) -> int:
        """Where it begins, in bytes."""
        return self.first_lba * self.sector_size

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return (self.last_lba - self.first_lba + 1) * self.sector_size


@dataclass(frozen=True)
class PartitionTable:
    """A partition table; `sector_size` in bytes."""

    uuid: str
    sector_size: int
    partitions: tuple[Partition, ...]


def read_partitions(image: Path) -> PartitionTable:
    """Read the primary table of `image`; raises ClusterError where it is missing or damaged."""
    try:
        with image.open("rb") as content:
            size = content.seek(0, 2)
            for sector_size in _SECTOR_SIZES:
                content.seek(sector_size)
                block = content.read(sector_size)
                if block[:8] != b"EFI PART" or len(block) < sector_size:
                    continue
                start, length = _check_header(block, image, sector_size)
                content.seek(start)
                return _parse_table(block, content.read(length), image, size, sector_size)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ClusterError(
            f"cannot read {image}: {reason}", hint="check the path and its permissions"
        ) from None
    raise _damaged(image, "it has none")


def _check_header(block: bytes, image: Path, sector_size: int) -> tuple[int, int]:
    """Return offset and length of the entries in bytes."""
    header = _HEADER.unpack_from(block)
    header_size, checksum, lba = header[2], header[3], header[5]
    entries_lba, count, entry_size = header[10], header[11], header[12]
    if not _HEADER.size <= header_size <= sector_size:
        raise _damaged(image, f"its header has {header_size} bytes")
    # The checksum counts as zero in its own sum.
    if zlib.crc32(block[:16] + bytes(4) + block[20:header_size]) != checksum:
        raise _damaged(image, "the checksum of its header is wrong")
    if lba != 1 or entry_size < _ENTRY.size or count * entry_size > _LARGEST_TABLE:
        raise _damaged(image, "its header makes no sense")
    return entries_lba * sector_size, count * entry_size


def _parse_table(block: bytes, table: bytes, image: Path, size: int, sector_size: int) -> PartitionTable:
    header = _HEADER.unpack_from(block)
    disk, count, entry_size, checksum = header[9], header[11], header[12], header[13]
    if len(table) != count * entry_size or zlib.crc32(table) != checksum:
        raise _damaged(image, "the checksum of its entries is wrong")
    found = []
    for index in range(count):
        kind, identifier, first, last, _attributes, name = _ENTRY.unpack_from(table, index * entry_size)
        if kind == bytes(16):
            continue
        type_uuid = str(uuid.UUID(bytes_le=kind))
        if first > last or (last + 1) * sector_size > size:
            raise _damaged(image, f"partition {index + 1} lies outside of the image")
        label = name.decode("utf-16-le", errors="replace").split("\0")[0]
        found.append(
            Partition(
                index + 1,
                label,
                TYPES.get(type_uuid, type_uuid),
                str(uuid.UUID(bytes_le=identifier)),
                first,
                last,
                sector_size,
            )
        )
    return PartitionTable(str(uuid.UUID(bytes_le=disk)), sector_size, tuple(found))


def _damaged(image: Path, reason: str) -> ClusterError:
    return ClusterError(
        f"the partition table of {image} is damaged: {reason}", hint="download or build the image again"
    )
