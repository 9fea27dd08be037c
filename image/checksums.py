# SPDX-License-Identifier: Apache-2.0
"""SHA256SUMS: digests of the files of a folder, in the format of `sha256sum`, sorted by name."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from agent.errors import ClusterError

NAME = "SHA256SUMS"
_BLOCK = 1 << 20  # bytes read at once
_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\x7f\\]+)")


def hash_file(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def hash_range(file: Path, offset: int, size: int) -> str:
    """Return the SHA-256 of `size` bytes of a file from `offset` on; of fewer where the file ends before."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        content.seek(offset)
        while size > 0 and (block := content.read(min(size, _BLOCK))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def encode_checksums(digests: Mapping[str, str]) -> str:
    """Return the content of a SHA256SUMS for digests by file name."""
    lines = [f"{digest}  {name}" for name, digest in sorted(digests.items())]
    text = "".join(f"{line}\n" for line in lines)
    parse_checksums(text, NAME)
    return text


def parse_checksums(text: str, name: str) -> dict[str, str]:
    """Read a SHA256SUMS into digests by file name; `name` is for the error message.

    Refuses names that lead out of the folder, names that come twice, and any other form than ours.
    """
    found: dict[str, str] = {}
    lines = text.split("\n")
    if lines.pop() != "" or not lines:
        raise ClusterError(f"{name} is cut off or empty", hint="download it again")
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if not match or not _is_inside(match[2]) or match[2] in found:
            raise ClusterError(
                f"{name}, line {number}: {line[:100]!r} is not a digest and the name of a file in the folder",
                hint="do not use these files; download them again",
            )
        found[match[2]] = match[1]
    return found


def write_checksums(directory: Path, names: Iterable[str]) -> Path:
    """Write the SHA256SUMS of the files `names` in `directory` and return its path."""
    target = directory / NAME
    target.write_text(encode_checksums({name: hash_file(directory / name) for name in names}))
    target.chmod(0o644)
    return target


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return name.strip() == name and not {"", ".", ".."} & set(parts)
