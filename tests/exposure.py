# SPDX-License-Identifier: Apache-2.0
"""How much a unit may do, as systemd measures it."""

import re
import subprocess
from pathlib import Path

from image.toolstree import ToolsTree


def measure_exposure(tools: ToolsTree, unit: Path) -> float:
    """Return what `systemd-analyze security` gives a unit file: 0 is nothing, 10 all."""
    argv = tools.command(["systemd-analyze", "security", "--offline=true", "--no-pager", unit])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])
