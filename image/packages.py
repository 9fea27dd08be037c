# SPDX-License-Identifier: Apache-2.0
"""Which Debian packages an image has: dpkg's record of what is installed, joined with apt's package lists.

Formats: deb822(5), Debian policy 5.3 and https://wiki.debian.org/DebianRepository/Format#A.22Packages.22_Indices.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ClusterError
from image.manifest import Package

_SOURCE = re.compile(r"(\S+)(?: \((\S+)\))?")
_SHOWN = 20  # how many packages an error message names


@dataclass(frozen=True, order=True)
class Installed:
    """A package as dpkg knows it; `source` and `source_version` name what it was built from."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What a package list knows it by."""
        return self.name, self.version, self.architecture


def read_installed(status_text: str) -> tuple[Installed, ...]:
    """Return the installed packages of a dpkg status file, sorted by name.

    Raises ClusterError for a package that is half installed: an image must have none.
    """
    found = []
    for stanza in status_text.split("\n\n"):
        fields = _read_fields(stanza)
        if "Package" not in fields:
            continue
        want, _, state = fields.get("Status", "").partition(" ")
        if state in ("ok not-installed", "ok config-files"):
            continue
        if (want, state) not in (("install", "ok installed"), ("hold", "ok installed")):
            raise ClusterError(
                f"package {fields['Package']} is not fully installed: {fields.get('Status', 'no status')}",
                hint="see the log of the build for its error",
            )
        found.append(_identify(fields))
    return tuple(sorted(found))


def find_records(index_text: str, wanted: Collection[Installed]) -> dict[tuple[str, str, str], Package]:
    """Return what a package list says of the `wanted` packages, by name, version and architecture.

    Other stanzas are skipped unread: trixie's list has some 50 MB. So are those without a path in an archive
    (`pool/…`), which a folder of local packages has.
    """
    names = {package.name for package in wanted}
    keys = {package.key for package in wanted}
    found: dict[tuple[str, str, str], Package] = {}
    start = "Package: "
    for stanza in index_text.split("\n\n"):
        if not stanza.startswith(start) or stanza[len(start) : stanza.find("\n")] not in names:
            continue
        fields = _read_fields(stanza)
        package = _identify(fields)
        filename = fields.get("Filename", "")
        if package.key not in keys or package.key in found or not filename.startswith("pool/"):
            continue
        size, sha256 = fields.get("Size", ""), fields.get("SHA256", "")
        if not size.isdecimal() or not sha256:
            continue
        found[package.key] = Package(
            package.name,
            package.version,
            package.architecture,
            package.source,
            package.source_version,
            filename,
            int(size),
            sha256,
        )
    return found


def join_packages(
    installed: Iterable[Installed], records: Mapping[tuple[str, str, str], Package]
) -> tuple[Package, ...]:
    """Return the record of each installed package; ClusterError names those that have none."""
    all_installed = tuple(installed)
    missing = [f"{p.name} {p.version}" for p in all_installed if p.key not in records]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise ClusterError(
            f"no package list knows {', '.join(missing[:_SHOWN])}{more}",
            hint="the lists are older or newer than the image: build again with --refresh",
        )
    return tuple(records[p.key] for p in all_installed)


def collect_packages(installed: Collection[Installed], lists: Path) -> tuple[Package, ...]:
    """Return the records of the `installed` packages from the folder `lists` of apt (`…/lib/apt/lists`)."""
    records: dict[tuple[str, str, str], Package] = {}
    files = sorted(lists.glob("*_Packages"))
    if not files:
        raise ClusterError(f"{lists} has no package lists", hint="build again with --refresh")
    for file in files:
        for key, record in find_records(file.read_text(encoding="utf-8"), installed).items():
            records.setdefault(key, record)
    return join_packages(installed, records)


def _identify(fields: Mapping[str, str]) -> Installed:
    name, version = fields["Package"], fields.get("Version", "")
    source = _SOURCE.fullmatch(fields.get("Source", name))
    if not version or not source:
        raise ClusterError(f"the record of package {name} is damaged", hint="build again with --refresh")
    return Installed(name, version, fields.get("Architecture", ""), source[1], source[2] or version)


def _read_fields(stanza: str) -> dict[str, str]:
    """Return the fields of a stanza that fit on one line each."""
    fields = {}
    for line in stanza.split("\n"):
        name, colon, value = line.partition(":")
        if colon and name and not name.startswith((" ", "\t", "#")):
            fields[name] = value.strip()
    return fields
