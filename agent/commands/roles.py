# SPDX-License-Identifier: Apache-2.0
"""Commands on roles: `roles` shows where each stands here, `role check` reads one that somebody wrote."""

import argparse
from pathlib import Path

from agent.commands.observe import ask_agent, require
from agent.commands.output import confirm, print_json
from agent.control.runtime import Runtime
from agent.roles.role_file import read_role
from agent.state import State
from agent.status import health, tables


def roles(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Show which roles this node has, and why it has not the others."""
    status, running = require(runtime)
    if options.json:
        content = status.to_dict()
        print_json({key: content[key] for key in ("roles", "leases")})
    else:
        print(tables.roles(status))
    return health.HEALTHY if running else health.STOPPED


def check(options: argparse.Namespace, _state: State, _runtime: Runtime) -> int:
    """Tell all that is wrong with the role in a folder."""
    role = read_role(Path(options.folder))
    if options.json:
        print_json({"valid": True, "name": role.name, "kind": role.kind.value, "units": list(role.units)})
    else:
        print(f"{role.name}: no errors")
    return 0


def reset(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Have a role of kind servers begin anew, without its data, when none of its servers is left."""
    require(runtime)
    confirm(f"the role {options.name} will begin anew, and the data that it had is lost", yes=options.yes)
    sentence = ask_agent(runtime, {"request": "reset", "role": options.name})
    if options.json:
        print_json({"role": options.name, "sentence": sentence})
    else:
        print(sentence)
    return 0
