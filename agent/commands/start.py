# SPDX-License-Identifier: Apache-2.0
"""The command `start`: the agent itself, in the foreground."""

import argparse
import importlib

from agent.control.runtime import Runtime
from agent.state import State


def start(_options: argparse.Namespace, state: State, runtime: Runtime) -> int:
    """Run the agent in the foreground, as its service does."""
    status: int = importlib.import_module("agent.service.main").run(state.folder, runtime.folder)
    return status
