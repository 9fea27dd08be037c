# SPDX-License-Identifier: Apache-2.0
"""Run programs of the tools tree: a folder with a Debian trixie /usr in the versions that we build with."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# What is taken from the tools tree instead of the host; all other top-level folders stay the host's.
_FROM_TREE = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True)
class ToolsTree:
    """A tools tree at `root`, entered with mkosi's own sandbox program `sandbox` (a Python file)."""

    root: Path
    sandbox: Path

    def command(self, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> list[str]:
        """Return the argument vector that runs `argv` with the tree's /usr over the host's.

        The caller's working directory, network and all host paths outside /usr stay as they are, so that
        files can be named as usual. Works without root where user namespaces do. `env` is added to the
        environment of the program.
        """
        cmd: list[str] = [sys.executable, "-SI", str(self.sandbox), "--ro-bind", f"{self.root}/usr", "/usr"]
        for name in _FROM_TREE:
            path = self.root / name
            if path.is_symlink():
                cmd += ["--symlink", str(path.readlink()), f"/{name}"]
        for entry in sorted(Path("/").iterdir()):
            if entry.name in (*_FROM_TREE, "usr", "proc") or not entry.exists():
                continue
            if entry.is_symlink():
                cmd += ["--symlink", str(entry.readlink()), str(entry)]
            else:
                cmd += ["--bind", str(entry), str(entry)]
        cmd += ["--proc", "/proc"]
        for name in ("etc/alternatives", "etc/ld.so.cache"):
            if (self.root / name).exists() and Path("/", name).exists():
                cmd += ["--ro-bind", f"{self.root}/{name}", f"/{name}"]
        cmd += ["--setenv", "PATH", "/usr/bin:/usr/sbin:/usr/lib/systemd"]
        for key, value in (env or {}).items():
            cmd += ["--setenv", key, value]
        return [*cmd, "--same-dir", "--", *map(str, argv)]
