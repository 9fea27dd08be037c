# SPDX-License-Identifier: Apache-2.0
"""The profiles: what images can be built, read from mkosi's configuration, which is their only definition."""

import configparser
from pathlib import Path

from agent.errors import ClusterError

_PREFIX = "Profile "


def list_profiles(project: Path) -> dict[str, str]:
    """Return the profiles by name, with a line on each.

    A profile is a file of mkosi.conf.d/ that matches on exactly one profile; the comment in it that begins
    with `Profile NAME: ` is its description.
    """
    found: dict[str, str] = {}
    for file in sorted((project / "mkosi.conf.d").glob("*.conf")):
        text = file.read_text()
        parser = configparser.ConfigParser(strict=False, allow_no_value=True, interpolation=None)
        parser.read_string(text)
        name = parser.get("Match", "Profiles", fallback="")
        if not name or name.startswith(("|", "!")):
            continue
        start = f"# {_PREFIX}{name}: "
        found[name] = next(
            (line.removeprefix(start) for line in text.splitlines() if line.startswith(start)), ""
        )
    return found


def check_profile(project: Path, name: str) -> None:
    """Raise ClusterError for a profile that does not exist."""
    known = list_profiles(project)
    if name not in known:
        raise ClusterError(f"there is no profile {name!r}", hint=f"choose one of: {', '.join(known)}")
