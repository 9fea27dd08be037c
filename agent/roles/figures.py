# SPDX-License-Identifier: Apache-2.0
"""What a role counts of itself: names and whole numbers, for people to look at. Pure.

The command of `status` in role.yaml prints one JSON object, such as `{"running": 3, "pending": 12}`.
"""

import json
import re
from collections.abc import Mapping

from agent.errors import ClusterError

MAX_BYTES = 4096
MAX_FIGURES = 16
MOST = 1 << 53  # what every reader of JSON holds exactly
_NAME = re.compile(r"[a-z][a-z0-9 _-]{0,30}")


def parse_figures(output: bytes) -> Mapping[str, int]:
    """Return the figures in the output of a command; ClusterError where that is anything else."""
    try:
        content = json.loads(output) if len(output) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or len(content) > MAX_FIGURES:
        raise ClusterError(f"it printed no JSON object of at most {MAX_FIGURES} figures")
    for name, value in content.items():
        if not _NAME.fullmatch(name):
            raise ClusterError(f"{name[:40]!a} is no name of a figure: 1 to 31 characters a-z, 0-9, -, _")
        # `type`: true is no number here.
        if type(value) is not int or not 0 <= value <= MOST:
            raise ClusterError(f"the figure {name} is no whole number from 0 to {MOST}")
    return content
