# SPDX-License-Identifier: Apache-2.0
"""Bring together exactly the packages that an earlier build recorded, by SHA-256.

Each is looked for in the cache, then on the mirror, then in the snapshot archive that Debian's own apt names
in its configuration. What comes with another digest is thrown away, whoever it comes from.
"""

import datetime
import hashlib
import http.client
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.errors import ClusterError
from image.manifest import Package
from image.mirror import Mirror
from image.toolstree import ToolsTree

_TIMEOUT = 30.0  # seconds without an answer from a server
_SNAPSHOT_DELAYS = (6, 24, 0)  # hours after a release until the snapshot archive has it; tried in this order


def list_places(package: Package, mirror: Mirror, snapshots: Sequence[str]) -> list[str]:
    """Return the URLs to try for a package, in order."""
    bases = [base for base in (mirror.archive, mirror.security) if base]
    return [f"{base.rstrip('/')}/{urllib.parse.quote(package.filename)}" for base in (*bases, *snapshots)]


def read_snapshot_patterns(apt_config: str) -> list[str]:
    """Return the snapshot URLs of Debian from `apt-config dump`, with `@SNAPSHOTID@` in them."""
    wanted = (
        "Acquire::Snapshots::URI::Origin::Debian ",
        "Acquire::Snapshots::URI::Override::Label::Debian-Security ",
    )
    lines = [line for line in apt_config.splitlines() if line.startswith(wanted)]
    return [line.split('"')[1] for line in lines if "@SNAPSHOTID@" in line]


def list_snapshots(tools: ToolsTree, epoch: int) -> list[str]:
    """Return the base URLs of the snapshot archive around `epoch` (seconds), as our apt names it."""
    dump = subprocess.run(
        tools.command(["apt-config", "dump"]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    found = []
    for pattern in read_snapshot_patterns(dump.stdout):
        for hours in _SNAPSHOT_DELAYS:
            time = datetime.datetime.fromtimestamp(epoch, datetime.UTC) + datetime.timedelta(hours=hours)
            found.append(pattern.replace("@SNAPSHOTID@", time.strftime("%Y%m%dT%H%M%SZ")))
    return found


def _matches(file: Path, package: Package) -> bool:
    if file.stat().st_size != package.size:
        return False
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == package.sha256


def _fetch(url: str, package: Package, target: Path) -> bool:
    """Download one package; False when it is not there or is not the one that was recorded."""
    new = target.with_name(f"{target.name}.new")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, new.open("wb") as out:  # noqa: S310
            shutil.copyfileobj(answer, out)
        if not _matches(new, package):
            return False
        new.replace(target)
        return True
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError):
        return False
    finally:
        new.unlink(missing_ok=True)


def collect_packages(
    packages: Sequence[Package],
    pool: Path,
    *,
    caches: Iterable[Path],
    mirror: Mirror,
    snapshots: Sequence[str],
    jobs: int,
) -> None:
    """Fill the folder `pool` with exactly `packages`; ClusterError lists those that are not to be had.

    `caches` are folders with .deb files of earlier builds.
    """
    pool.mkdir(parents=True, exist_ok=True)
    at_hand = {file.name: file for cache in caches if cache.is_dir() for file in cache.glob("*.deb")}

    def collect(package: Package) -> bool:
        version = urllib.parse.quote(package.version, safe="+~.-")
        name = f"{package.name}_{version}_{package.architecture}.deb".replace("%3A", "%3a")
        target = pool / name
        cached = at_hand.get(name)
        if cached and _matches(cached, package):
            shutil.copyfile(cached, target)
            return True
        return any(_fetch(url, package, target) for url in list_places(package, mirror, snapshots))

    with ThreadPoolExecutor(jobs) as pool_of_threads:
        results = list(pool_of_threads.map(collect, packages))
    missing = [f"{p.name} {p.version}" for p, found in zip(packages, results, strict=True) if not found]
    if missing:
        raise ClusterError(
            f"{len(missing)} of {len(packages)} recorded packages are not to be had: {', '.join(missing)}",
            hint="give a mirror that has them with --mirror URL, or build without --locked",
        )
