# SPDX-License-Identifier: Apache-2.0
"""The profiles: what images can be built, read from mkosi's configuration, which is their only definition."""

import re
from pathlib import Path

from agent.errors import ClusterError

_PROFILE = re.compile(r"# Profile ([a-z0-9-]+): (.+)")


def list_profiles(project: Path) -> dict[str, str]:
    """Return the profiles by name, with a line on each.

    A profile is what a comment `# Profile NAME: ` in a file of mkosi.conf.d/ describes.
    """
    lines = (
        line
        for file in sorted((project / "mkosi.conf.d").glob("*.conf"))
        for line in file.read_text().splitlines()
    )
    return {found[1]: found[2] for line in lines if (found := _PROFILE.fullmatch(line))}


def check_profile(project: Path, name: str) -> None:
    """Raise ClusterError for a profile that does not exist."""
    known = list_profiles(project)
    if name not in known:
        raise ClusterError(f"there is no profile {name!r}", hint=f"choose one of: {', '.join(known)}")
