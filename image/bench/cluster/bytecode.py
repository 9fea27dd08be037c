# SPDX-License-Identifier: Apache-2.0
"""Byte code for the agents, as the image has it: without, each start would compile all of the agent anew."""

import subprocess
from pathlib import Path

from agent.errors import ClusterError
from harness import processes
from image.toolstree import ToolsTree
from tests.cluster.machines import node_python

LIMIT = 120.0
"""Seconds; it takes a few."""


def make_bytecode(group: Path, tools: ToolsTree) -> dict[str, str]:
    """Put byte code of all that an agent loads into the folder; return the environment that has it used."""
    variables = {"PYTHONPYCACHEPREFIX": str(group)}
    done = subprocess.run(
        tools.command(["python3", "-S", "-c", "import agent.commands.start, agent.service.main"]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env={**processes.mark(group, "python"), **node_python(), **variables, "PYTHONDONTWRITEBYTECODE": ""},
    )
    if done.returncode:
        raise ClusterError(f"the agent cannot be loaded: {done.stderr.strip().splitlines()[-1]}")
    return variables
