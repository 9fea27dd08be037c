# SPDX-License-Identifier: Apache-2.0
"""What this checkout is: commit, whether it has local changes, and the time that all builds of it carry."""

import os
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ClusterError

# What os-release(5) allows in IMAGE_VERSION, and what cannot be taken for an option or a path.
_VERSION = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Source:
    """A checkout: `commit` is "" outside git; `epoch` is in seconds since 1970 (SOURCE_DATE_EPOCH)."""

    commit: str
    dirty: bool
    epoch: int


def read_source(project: Path) -> Source:
    """Ask git what this checkout is; without git, SOURCE_DATE_EPOCH must tell the time.

    https://reproducible-builds.org/specs/source-date-epoch/
    """
    commit = _git(project, "rev-parse", "HEAD")
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given and not given.isdigit():
        raise ClusterError(
            f"SOURCE_DATE_EPOCH={given!r} is not a number of seconds", hint="unset it, or correct it"
        )
    if not commit and not given:
        raise ClusterError(
            f"{project} has no git history to take the build's time from",
            hint="clone the repository with git, or set SOURCE_DATE_EPOCH to seconds since 1970",
        )
    epoch = int(given) if given else int(_git(project, "log", "-1", "--format=%ct"))
    return Source(commit, bool(_git(project, "status", "--porcelain")), epoch)


def _git(project: Path, *arguments: str) -> str:
    """Return what a git command prints, "" when it fails or git is not there."""
    try:
        done = subprocess.run(
            ["git", "-c", f"safe.directory={project}", "-C", str(project), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def choose_version(project: Path, given: str | None, *, development: bool) -> str:
    """Return the image version: `given` or the project's own, with `-dev` after it for development keys."""
    if given is None:
        given = str(tomllib.loads((project / "pyproject.toml").read_text())["project"]["version"])
    if not _VERSION.fullmatch(given):
        raise ClusterError(
            f"{given!r} cannot be a version",
            hint="use lower-case letters, digits, '.', '_' and '-', at most 64",
        )
    return f"{given}-dev" if development and not given.endswith("-dev") else given
