# SPDX-License-Identifier: Apache-2.0
"""Have ticks measured (tick.py) by the Python of the tools tree, which is that of a node."""

import json
import subprocess
from pathlib import Path

from agent.errors import ClusterError
from harness import processes
from image.toolstree import ToolsTree
from tests.cluster.machines import node_python

SIZES = (10, 100, 1000, 5000)
RUNS = 40
LIMIT = 300.0
"""Seconds for one size; 5000 members take some ten."""


def measure(group: Path, tools: ToolsTree, size: int) -> list[float]:
    """Return the seconds of RUNS ticks over `size` members."""
    program = Path(__file__).with_name("tick.py")
    done = subprocess.run(
        tools.command(["python3", "-S", program, str(size), str(RUNS)]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env={**processes.mark(group, "tick"), **node_python()},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ClusterError(f"a tick over {size} members failed: {last}")
    return [float(each) for each in json.loads(done.stdout)]
