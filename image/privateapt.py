# SPDX-License-Identifier: Apache-2.0
"""Fetch single packages of our Debian release, signatures checked, without touching the host's own apt.

Standard library only: used before anything is installed.
"""

from collections.abc import Sequence
from pathlib import Path

from agent.errors import ClusterError
from image.mirror import KEYRING, RELEASE, Mirror, write_sources
from image.process import run_logged

# Used only where the machine's apt names no mirror: apt finds the nearest by itself.
_OPTIONS = (
    "Acquire::Retries=2",
    "Acquire::http::Timeout=30",
    "APT::Sandbox::User=root",
    "APT::Get::AllowUnauthenticated=false",
)


def fetch_packages(names: Sequence[str], mirror: Mirror, folder: Path, *, log: Path) -> list[Path]:
    """Download packages (`name` or `name=version`) of our release into `folder` and return their files.

    Raises ClusterError when the mirror does not answer, lacks a package, or its signature is wrong.
    """
    if not KEYRING.exists():
        raise ClusterError(f"{KEYRING} is missing", hint="install the package debian-archive-keyring")
    if not mirror.archive:
        raise ClusterError("this machine's apt names no Debian mirror", hint="give one with --mirror URL")
    root = folder / "apt"
    for name in ("etc/sources.list.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "state/status").touch()
    write_sources(Mirror(mirror.archive), root / f"etc/sources.list.d/{RELEASE}.sources")
    options = [
        *_OPTIONS,
        "Dir::Etc::sourcelist=/dev/null",
        f"Dir::Etc::sourceparts={root}/etc/sources.list.d",
        f"Dir::Etc::preferencesparts={root}/etc/preferences.d",
        "Dir::Etc::preferences=/dev/null",
        f"Dir::State={root}/state",
        f"Dir::State::status={root}/state/status",
        f"Dir::Cache={root}/cache",
        "APT::Update::Error-Mode=any",
    ]
    apt = ["apt-get", *(part for option in options for part in ("-o", option))]
    run_logged([*apt, "update"], log=log, what=f"reading {mirror.archive}")
    run_logged([*apt, "download", *names], log=log, what=f"downloading {' '.join(names)}", cwd=folder)
    return sorted(folder.glob("*.deb"))


def unpack_packages(files: Sequence[Path], folder: Path, *, log: Path) -> None:
    """Unpack the files of packages into `folder`; their maintainer scripts are not run."""
    for file in files:
        run_logged(["dpkg-deb", "-x", file, folder], log=log, what=f"unpacking {file.name}")
