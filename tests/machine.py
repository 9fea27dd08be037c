# SPDX-License-Identifier: Apache-2.0
"""Small made-up machines for tests: the files of /proc and /sys that we read, below a folder."""

import shutil
from pathlib import Path

CPUINFO = """processor\t: {n}
model name\t: Example CPU  9000
physical id\t: 0
core id\t\t: {core}
flags\t\t: fpu avx2 sse4_2 nonsense aes{extra}

"""


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def link(root: Path, name: str, target: str) -> None:
    """Make the symbolic link `name` to `target`, both below `root`, relative as in /sys."""
    path, goal = root / name, root / target
    path.parent.mkdir(parents=True, exist_ok=True)
    goal.mkdir(parents=True, exist_ok=True)
    path.symlink_to(Path(*[".."] * len(Path(name).parent.parts)) / target)


def make_machine(root: Path, *, extra_flags: str = "") -> Path:
    """Make the least that a Linux machine shows: two cores with two threads each, 2 GiB, a host name."""
    cpuinfo = "".join(CPUINFO.format(n=n, core=n // 2, extra=extra_flags) for n in range(4))
    write(
        root,
        {
            "proc/cpuinfo": cpuinfo,
            "proc/meminfo": "MemTotal:        2000000 kB\nMemFree: 5 kB\n",
            "proc/sys/kernel/hostname": "localhost\n",
            "sys/devices/system/memory/block_size_bytes": "8000000\n",
            "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        },
    )
    for number in range(16):
        write(root, {f"sys/devices/system/memory/memory{number}/state": "online\n"})
    (root / "var/lib/cluster-os").mkdir(parents=True, mode=0o700)
    return root


def start_again(root: Path) -> None:
    """Lose what a machine loses when it is switched off: all but /var."""
    for folder in ("etc", "run"):
        shutil.rmtree(root / folder, ignore_errors=True)
    write(root, {"proc/sys/kernel/hostname": "localhost\n", "etc/machine-id": "0" * 32 + "\n"})
