# SPDX-License-Identifier: Apache-2.0
"""Commands that show the cluster as this node knows it: `members` and `leaders`."""

import argparse

from agent.commands.observe import require
from agent.commands.output import print_json
from agent.control.runtime import Runtime
from agent.state import State
from agent.status import health, tables


def members(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """List the members, and who waits for approval."""
    status, running = require(runtime)
    if options.json:
        content = status.to_dict()
        print_json({key: content[key] for key in ("members", "pending", "removed", "clones", "foreign")})
    else:
        print(tables.members(status))
    return _exit_status(running)


def leaders(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Show who leads, and who holds each role of which there is one."""
    status, running = require(runtime)
    if options.json:
        content = status.to_dict()
        print_json({key: content[key] for key in ("raft", "leases")})
    else:
        print(tables.leaders(status))
    return _exit_status(running)


def _exit_status(running: bool) -> int:
    return health.HEALTHY if running else health.STOPPED
