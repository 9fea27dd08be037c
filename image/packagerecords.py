# SPDX-License-Identifier: Apache-2.0
"""Remember what apt's lists say of the packages of an image, as reading 90 MB of lists takes a second.

Owns the folder `records` of the cache.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from image.cache import fingerprint_tree
from image.manifest import Package
from image.packages import Installed, collect_packages


def recall_packages(installed: Collection[Installed], lists: Path, memory: Path) -> tuple[Package, ...]:
    """Return what `collect_packages` does, from the file `memory` when it is of the same lists and packages.

    A file that is damaged, or of other lists, is made anew.
    """
    names = repr(sorted(package.key for package in installed))
    inputs = hashlib.sha256(f"{fingerprint_tree(lists)} {names}".encode()).hexdigest()
    known = _read(memory, inputs)
    if known is None:
        known = collect_packages(installed, lists)
        _write(memory, inputs, known)
    return known


def _read(memory: Path, inputs: str) -> tuple[Package, ...] | None:
    try:
        digest, _, text = memory.read_text().partition("\n")
        if hashlib.sha256(f"{inputs}{text}".encode()).hexdigest() != digest:
            return None
        return tuple(Package(**fields) for fields in json.loads(text))
    except (OSError, ValueError, TypeError):
        return None


def _write(memory: Path, inputs: str, packages: Collection[Package]) -> None:
    text = json.dumps([dataclasses.asdict(package) for package in packages])
    memory.parent.mkdir(parents=True, exist_ok=True)
    new = memory.with_name(f"{memory.name}.new")
    new.write_text(f"{hashlib.sha256(f'{inputs}{text}'.encode()).hexdigest()}\n{text}")
    new.replace(memory)
