# SPDX-License-Identifier: Apache-2.0
"""What verification finds, what its parts work on, and how they run programs."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from image.manifest import Manifest
from image.toolstree import ToolsTree

# What reading a record of unknown content by its keys can raise.
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be; `file` names it, with the part of it that is meant."""

    file: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Artefacts:
    """The folder under verification with its parsed manifest; `scratch` is a folder for temporary files."""

    directory: Path
    manifest: Manifest
    tools: ToolsTree
    scratch: Path

    def path(self, role: str) -> Path:
        """Return the path of the artefact that plays `role`; raises OSError when there is none."""
        artefact = self.manifest.find_artefact(role)
        if artefact is None:
            raise FileNotFoundError(2, f"the manifest names no artefact {role}")
        path = self.directory / artefact.name
        if path.is_symlink() or not path.is_file():
            raise FileNotFoundError(2, "No such file", str(path))
        return path


def run_tool(artefacts: Artefacts, argv: Sequence[str | Path]) -> "subprocess.CompletedProcess[bytes]":
    """Run a program of the tools tree, without standard input, and return its status and output."""
    return subprocess.run(
        artefacts.tools.command(argv), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )


def shorten(output: bytes) -> str:
    """Return the last line of a program's complaint, fit for a finding."""
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:200] if lines else "no output"
