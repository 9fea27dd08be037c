# SPDX-License-Identifier: Apache-2.0
"""Where Debian packages come from: the machine's own apt configuration, or `--mirror URL`.

Standard library only: used before anything is installed.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.errors import ClusterError
from image.cache import fingerprint_tree

RELEASE = "trixie"
COMPONENTS = "main non-free-firmware"
# What apt's answer follows from: its configuration, and the labels in the lists that it has fetched.
_APT_FOLDERS = (Path("/etc/apt"), Path("/var/lib/apt/lists"))
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Mirror:
    """URLs of a Debian archive and of its security archive; "" where none is known."""

    archive: str = ""
    security: str = ""


def read_index_targets(text: str) -> Mirror:
    """Return the mirror that apt uses, from `apt-get indextargets` in `LABEL|REPO_URI` lines."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        label, _, uri = line.strip().partition("|")
        if urlsplit(uri).scheme in ("http", "https", "file", "mirror+file"):
            found.setdefault(label, uri.rstrip("/"))
    return Mirror(found.get("Debian", ""), found.get("Debian-Security", ""))


def find_mirror(override: str | None, memory: Path | None = None) -> Mirror:
    """Return `override` (with the machine's security archive), or else what the machine's apt uses.

    The file `memory` keeps apt's answer, which takes it half a second, while its configuration is the same.
    """
    if override is not None and urlsplit(override).scheme not in ("http", "https", "file"):
        raise ClusterError(
            f"{override!r} is not the URL of a mirror", hint="give http://, https:// or file:///"
        )
    machine = _recall_apt(memory) if shutil.which("apt-get") else Mirror()
    return Mirror(override.rstrip("/"), machine.security) if override else machine


def _recall_apt(memory: Path | None) -> Mirror:
    try:
        configuration = [fingerprint_tree(folder) for folder in _APT_FOLDERS]
    except OSError:
        return _ask_apt()
    inputs = [os.environ.get("APT_CONFIG", ""), *configuration]
    try:
        known = json.loads(memory.read_text()) if memory else {}
        if known.get("inputs") == inputs:
            return Mirror(str(known["archive"]), str(known["security"]))
    except (OSError, ValueError, KeyError, AttributeError):
        pass
    machine = _ask_apt()
    if memory:
        new = memory.with_name(f"{memory.name}.{os.getpid()}")
        new.write_text(
            json.dumps({"inputs": inputs, "archive": machine.archive, "security": machine.security})
        )
        new.replace(memory)
    return machine


def _ask_apt() -> Mirror:
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return read_index_targets(listing.stdout)


def write_sources(mirror: Mirror, file: Path) -> None:
    """Write `file` in apt's deb822 format for our release; its name is mkosi.sources where mkosi reads it.

    mkosi takes such a file in place of its own list, which names an archive of debug packages that mirrors
    often lack. Without a known mirror no file is written, and mkosi's own default holds.
    """
    if not mirror.archive:
        return
    parts = [(mirror.archive, f"{RELEASE} {RELEASE}-updates")]
    if mirror.security:
        parts.append((mirror.security, f"{RELEASE}-security"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "\n".join(
            f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: {COMPONENTS}\nSigned-By: {KEYRING}\n"
            for uri, suites in parts
        )
    )
