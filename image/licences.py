# SPDX-License-Identifier: Apache-2.0
"""Under which licences packages are, as their maintainers declare it in machine-readable copyright files.

Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/. Some packages have older, free
text files, from which nothing is guessed.
"""

import re
import subprocess
from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from pathlib import Path

from agent.errors import ClusterError
from image.manifest import Package
from image.toolstree import ToolsTree

# Debian's short names that SPDX (https://spdx.org/licenses/) writes otherwise; `+` is "or later" in both.
_SPDX = {
    "Apache-2": "Apache-2.0",
    "BSD-2-clause": "BSD-2-Clause",
    "BSD-3-clause": "BSD-3-Clause",
    "BSD-4-clause": "BSD-4-Clause",
    "CC0": "CC0-1.0",
    "Expat": "MIT",
    "zlib": "Zlib",
} | {
    f"{family}-{version}{mark}": f"{family}-{version}{'' if '.' in version else '.0'}{words}"
    for family, versions in (
        ("GPL", ("1", "2", "2.0", "3", "3.0")),
        ("LGPL", ("2", "2.0", "2.1", "3", "3.0")),
    )
    for version in versions
    for mark, words in (("", "-only"), ("+", "-or-later"))
}
_SAME_IN_SPDX = frozenset({"0BSD", "Apache-2.0", "CC0-1.0", "FSFAP", "FSFULLR", "ISC", "MIT", "X11", "Zlib"})
_SHORT_NAME = r"[A-Za-z0-9][A-Za-z0-9.+/_-]*"
# One name, or several with what stands between them; what else is written there is prose, not a name.
_NAMES = re.compile(rf"{_SHORT_NAME}(,? (or|and|and/or|with) {_SHORT_NAME}| exception)*", re.IGNORECASE)
_LOOP = (
    'image=$1; shift; for name; do printf "\\0%s\\n" "$name"; '
    'dump.erofs --cat --path="/usr/share/doc/$name/copyright" "$image" 2>/dev/null || true; done'
)


def read_licences(copyright_text: str) -> frozenset[str]:
    """Return the licences that a copyright file declares, by SPDX identifier where there is one."""
    if not copyright_text.startswith("Format:"):
        return frozenset()
    names = (
        line.partition(":")[2].strip() for line in copyright_text.splitlines() if line.startswith("License:")
    )
    return frozenset(_SPDX.get(name, name) for name in names if _NAMES.fullmatch(name))


def is_spdx(name: str) -> bool:
    """Say whether a licence's name is an identifier of SPDX."""
    return name in _SAME_IN_SPDX or name in _SPDX.values()


def collect_licences(
    packages: Iterable[Package], root: Path, tools: ToolsTree
) -> Mapping[str, frozenset[str]]:
    """Return the licences of source packages from the copyright files inside `root`, an erofs image.

    Packages of the same source have one file between them often enough, so theirs are taken together.
    """
    sources = {package.name: package.source for package in packages}
    done = subprocess.run(
        tools.command(["sh", "-c", _LOOP, "sh", root, *sources]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise ClusterError(
            f"the copyright files in {root.name} cannot be read", hint="this is a bug: build with --verbose"
        )
    found: dict[str, frozenset[str]] = {}
    for part in done.stdout.decode(errors="replace").split("\0")[1:]:
        name, _, text = part.partition("\n")
        found[sources[name]] = found.get(sources[name], frozenset()) | read_licences(text)
    return found


def read_python_licences(site_packages: Path) -> Mapping[str, frozenset[str]]:
    """Return the licences that installed Python packages declare in their metadata, by name."""
    found = {}
    for file in site_packages.glob("*.dist-info/METADATA"):
        fields = HeaderParser().parsestr(file.read_text(encoding="utf-8"))
        name = fields["License-Expression"] or fields["License"] or ""
        if _NAMES.fullmatch(name):
            found[fields["Name"].lower()] = frozenset({_SPDX.get(name, name)})
    return found
