# SPDX-License-Identifier: Apache-2.0
"""Check what is inside the root file system against the record: packages, assets and version."""

import hashlib
import re
from collections.abc import Iterator, Mapping

from image.packages import read_installed
from image.verification.findings import Artefacts, Finding, run_tool

# Where dpkg's record lies in our images, and where in others.
_STATUS = ("/usr/lib/sysimage/dpkg/status", "/var/lib/dpkg/status")
_SITE_PACKAGES = "/usr/lib/cluster-os/site-packages"
_RELEASE = "/usr/lib/os-release"
_METADATA = re.compile(r"([A-Za-z0-9._]+)-([^-\s/]+)\.dist-info$", re.MULTILINE)


def check_packages(artefacts: Artefacts) -> Iterator[Finding]:
    """Check that dpkg's record inside the root lists exactly the packages of the manifest."""
    root = artefacts.path("root")
    status = next(filter(None, (read_inside(artefacts, path) for path in _STATUS)), "")
    found = {f"{p.name}:{p.architecture}": p.version for p in read_installed(status)}
    recorded = {f"{p.name}:{p.architecture}": p.version for p in artefacts.manifest.packages}
    yield from _compare(f"{root.name}, package", recorded, found)


def check_python_packages(artefacts: Artefacts) -> Iterator[Finding]:
    """Check that the folder of Python packages inside the root holds exactly those of the manifest."""
    root = artefacts.path("root")
    done = run_tool(artefacts, ["dump.erofs", "--ls", f"--path={_SITE_PACKAGES}", root])
    listing = done.stdout.decode(errors="replace")
    found = {_normalise(name): version for name, version in _METADATA.findall(listing)}
    recorded = {_normalise(p.name): p.version for p in artefacts.manifest.python_packages}
    yield from _compare(f"{root.name}, Python package", recorded, found)


def check_assets(artefacts: Artefacts) -> Iterator[Finding]:
    """Check that each asset of the manifest lies in its place inside the root, as it was recorded."""
    root = artefacts.path("root")
    for asset in artefacts.manifest.assets:
        done = run_tool(artefacts, ["dump.erofs", "--cat", f"--path={asset.path}", root])
        found = hashlib.sha256(done.stdout).hexdigest() if done.stdout else "nothing"
        if found != asset.sha256:
            yield Finding(f"{root.name}, asset {asset.name}, {asset.path}", asset.sha256, found)


def check_release(artefacts: Artefacts) -> Iterator[Finding]:
    """Check that the image calls itself what the manifest does."""
    root, manifest = artefacts.path("root"), artefacts.manifest
    lines = read_inside(artefacts, _RELEASE).splitlines()
    for name, expected in (("IMAGE_ID", manifest.image_id), ("IMAGE_VERSION", manifest.version)):
        values = [line.partition("=")[2].strip("\"'") for line in lines if line.startswith(f"{name}=")]
        if values != [expected]:
            yield Finding(f"{root.name}, {_RELEASE}, {name}", expected, ", ".join(values) or "nothing")


def read_inside(artefacts: Artefacts, path: str) -> str:
    """Return the text of a file inside the root (erofs), "" when it is not there or cannot be read."""
    done = run_tool(artefacts, ["dump.erofs", "--cat", f"--path={path}", artefacts.path("root")])
    return done.stdout.decode(errors="replace")


def _compare(place: str, recorded: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Finding]:
    for key in sorted({*recorded, *found}):
        before, after = recorded.get(key, "none"), found.get(key, "none")
        if before != after:
            yield Finding(f"{place} {key}", before, after)


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
