# SPDX-License-Identifier: Apache-2.0
"""The cache of downloaded Debian packages: what was damaged in it is removed, so that apt fetches it anew.

apt compares a package that it downloads with the signed list, but one that lies in its cache only by size.
"""

import urllib.parse
from collections.abc import Callable
from pathlib import Path

from image.cache import check_seal, seal_tree
from image.checksums import hash_file
from image.packages import Installed, find_records


def locate_archives(cache: Path) -> Path:
    """Return the folder of .deb files in our cache folder, laid out by mkosi and apt."""
    return cache / "packages/cache/apt/archives"


def check_archives(cache: Path, say: Callable[[str], None]) -> None:
    """Remove packages that are not what the signed lists say; costs nothing while no file has changed."""
    archives = locate_archives(cache)
    if not archives.is_dir() or not check_seal(archives, ""):
        return
    for file in find_damaged(archives, cache / "packages/lib/apt/lists"):
        say(f"{file.name} in the package cache is damaged: it is fetched anew")
        file.unlink()
    seal_archives(cache)


def seal_archives(cache: Path) -> None:
    """Note that the packages are good now: after a check, or after apt has checked what it fetched."""
    if locate_archives(cache).is_dir():
        seal_tree(locate_archives(cache), "")


def find_damaged(archives: Path, lists: Path) -> list[Path]:
    """Return the .deb files in `archives` whose digest differs from that in apt's `lists`.

    Packages that no list knows any more are left alone: nobody installs them without their digest.
    """
    files = {_read_name(file): file for file in sorted(archives.glob("*.deb"))}
    wanted = {Installed(name, version, architecture, "", "") for name, version, architecture in files}
    damaged = {}
    for index in sorted(lists.glob("*_Packages")) if files else ():
        for key, record in find_records(index.read_text(encoding="utf-8"), wanted).items():
            if files[key].stat().st_size != record.size or hash_file(files[key]) != record.sha256:
                damaged[key] = files[key]
    return list(damaged.values())


def _read_name(file: Path) -> tuple[str, str, str]:
    """Return name, version and architecture from a file name such as `login_1%3a4.16-1_amd64.deb`."""
    name, _, rest = file.stem.partition("_")
    version, _, architecture = rest.rpartition("_")
    return name, urllib.parse.unquote(version), architecture
