# SPDX-License-Identifier: Apache-2.0
"""The command `status`: where this node stands, for people and for scripts."""

import argparse
import os
from pathlib import Path
from typing import Any

from agent.commands.observe import Seen, note, observe
from agent.commands.output import print_json
from agent.control.runtime import Runtime
from agent.errors import ClusterError
from agent.report import read_status
from agent.state import State
from agent.status import health, tables


def status(options: argparse.Namespace, state: State, runtime: Runtime) -> int:
    """Say in one sentence where this node stands, and show its cluster."""
    seen = observe(runtime)
    # Somebody without privileges reads what the agent publishes, not the identity.
    known = read_status(state, Path("/")) if seen.status is None or _is_readable(state) else None
    _check_same(known, seen, state, runtime)
    code = _exit_status(known, seen, state)
    if options.json:
        print_json(_content(known, seen))
    elif seen.status is None:
        print((known or {})["sentence"] + ("; its agent is not running" if code == health.STOPPED else ""))
    else:
        said = seen.status.sentence if seen.running else f"{note(seen)}: {seen.status.sentence}"
        print(f"{said}\n\n{tables.overview(seen.status)}")
    return code


def _exit_status(known: dict[str, Any] | None, seen: Seen, state: State) -> int:
    if known is not None and not known["first_boot_complete"]:
        return health.NOT_SET_UP
    if seen.status is not None:
        return health.exit_status(seen.status) if seen.running else health.STOPPED
    # Without its folder no agent ever ran here, and none is missed: first boot has just ended, or this is a
    # developer's machine.
    return health.STOPPED if os.access(state.folder / "agent", os.F_OK) else health.HEALTHY


def _content(known: dict[str, Any] | None, seen: Seen) -> dict[str, Any]:
    content = {**(known or {}), "agent": "running" if seen.running else "stopped"}
    if seen.status is None:
        return content
    return {**content, **health.tell(seen.status, seen.age)}


def _is_readable(state: State) -> bool:
    return os.access(state.identity, os.R_OK) or not os.access(state.identity, os.F_OK)


def _check_same(known: dict[str, Any] | None, seen: Seen, state: State, runtime: Runtime) -> None:
    if known and known["node_id"] and seen.status and seen.status.node_id != known["node_id"]:
        raise ClusterError(
            f"the agent in {runtime.folder} is of node {seen.status.node_id}, "
            f"and the state in {state.folder} of node {known['node_id']}",
            hint="name folders that go together with --state and --run",
        )
