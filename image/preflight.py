# SPDX-License-Identifier: Apache-2.0
"""Refuse work that cannot end well, before it begins."""

import os
import shutil
from pathlib import Path

from agent.errors import ClusterError

GIB = 1 << 30
NEEDED_MEMORY = 4 * GIB
NEEDED_DISK = 8 * GIB
# A machine sold with 4 GiB shows less: the kernel and the firmware keep some.
_MEMORY_SLACK = 0.9


def read_memory(meminfo: str) -> int:
    """Return the machine's memory in bytes from the text of /proc/meminfo."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def check_resources(memory: int, disks: dict[Path, int]) -> None:
    """Raise ClusterError when there is too little memory or free disk, both in bytes, to build an image."""
    if memory < NEEDED_MEMORY * _MEMORY_SLACK:
        raise ClusterError(
            f"building needs 4 GiB of memory, and this machine has {memory / GIB:.1f} GiB",
            hint="build on a larger machine",
        )
    for folder, free in disks.items():
        if free < NEEDED_DISK:
            raise ClusterError(
                f"building needs 8 GiB of free disk, and {folder} has {free / GIB:.1f} GiB",
                hint="make room, or set CLUSTEROS_CACHE and --output to a larger disk",
            )


def check_machine(cache: Path, output: Path) -> None:
    """Check this machine's memory, disk, and that the output folder can be written."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ClusterError(
            f"cannot write the output folder {output}: {error.strerror}",
            hint="give another with --output DIR",
        ) from error
    disks = {folder: shutil.disk_usage(folder).free for folder in (cache, output)}
    check_resources(read_memory(Path("/proc/meminfo").read_text()), disks)
