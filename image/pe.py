# SPDX-License-Identifier: Apache-2.0
"""Read the sections of a PE file: a unified kernel image keeps kernel, initrd and command line in them.

Format: https://learn.microsoft.com/windows/win32/debug/pe-format; sections of a UKI:
https://uapi-group.org/specifications/specs/unified_kernel_image/
"""

import struct
from dataclasses import dataclass

from agent.errors import ClusterError

_SECTION = struct.Struct("<8sIIII16x")
_OPTIONAL_SIZES = {0x10B: 96, 0x20B: 112}  # by magic: PE32, PE32+; bytes before the data directories
_CHECKSUM_OFFSET = 64  # in the optional header
_SECURITY_DIRECTORY = 4


@dataclass(frozen=True)
class Layout:
    """Where the parts of a PE file are, in bytes; `sections`: offset, size in file and in memory, by name."""

    optional_header: int
    directories: int
    sections: dict[str, tuple[int, int, int]]


def read_sections(data: bytes, name: str) -> dict[str, bytes]:
    """Return the sections of the PE file `data` as they are in memory, without padding; `name` is for errors.

    Raises ClusterError for what is no PE file, is cut off, or has two sections of one name.
    """
    found = {}
    for section, (offset, size, in_memory) in _parse(data, name).sections.items():
        content = data[offset : offset + size]
        found[section] = content[:in_memory].ljust(min(in_memory, len(data)), b"\0")
    return found


def drop_signature(data: bytes, name: str) -> bytes:
    """Return the PE file `data` without its Authenticode signatures, and with zeros where they leave traces.

    That is the checksum and the place of the signatures. `name` is for errors.
    """
    layout = _parse(data, name)
    entry = layout.directories + 8 * _SECURITY_DIRECTORY
    place, size = struct.unpack_from("<II", data, entry)
    if place and (place + size > len(data) or place < entry):
        raise _damaged(name)
    bare = bytearray(data[:place] + data[place + size :] if place else data)
    checksum = layout.optional_header + _CHECKSUM_OFFSET
    bare[checksum : checksum + 4] = bytes(4)
    bare[entry : entry + 8] = bytes(8)
    return bytes(bare)


def _parse(data: bytes, name: str) -> Layout:
    try:
        (start,) = struct.unpack_from("<I", data, 0x3C)
        if data[:2] != b"MZ" or data[start : start + 4] != b"PE\0\0":
            raise _damaged(name)
        (count,) = struct.unpack_from("<H", data, start + 6)
        (optional_size,) = struct.unpack_from("<H", data, start + 20)
        optional = start + 24
        (magic,) = struct.unpack_from("<H", data, optional)
        sections: dict[str, tuple[int, int, int]] = {}
        for index in range(count):
            raw, in_memory, _address, size, offset = _SECTION.unpack_from(
                data, optional + optional_size + index * _SECTION.size
            )
            section = raw.rstrip(b"\0").decode("ascii", errors="replace")
            if section in sections or offset + size > len(data):
                raise _damaged(name)
            sections[section] = offset, size, in_memory
    except struct.error:
        raise _damaged(name) from None
    if magic not in _OPTIONAL_SIZES:
        raise _damaged(name)
    return Layout(optional, optional + _OPTIONAL_SIZES[magic], sections)


def _damaged(name: str) -> ClusterError:
    return ClusterError(f"{name} is not a whole PE file", hint="download or build it again")
