# SPDX-License-Identifier: Apache-2.0
"""What the supervisor remembers over its own restarts, until the machine restarts: roles.json in its folder.

Owns that file. What is damaged is as good as lost: then what runs under a lease is stopped first.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from agent import files
from agent.roles.plan import Running

FILE = "roles.json"


def load(folder: Path) -> dict[str, Running]:
    """Return what is remembered of each role that was started."""
    try:
        content = json.loads((folder / FILE).read_bytes())
        return {
            name: Running(int(epoch), None if until is None else float(until))
            for name, (epoch, until) in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def save(folder: Path, running: Mapping[str, Running]) -> None:
    """Write it."""
    content = {name: [each.epoch, each.until] for name, each in running.items()}
    files.replace(folder / FILE, json.dumps(content).encode(), mode=0o600)
