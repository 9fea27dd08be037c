# SPDX-License-Identifier: Apache-2.0
"""The commands `config check` and `config show`."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.commands.output import print_json
from agent.config import check_file, merge, read_sources
from agent.control.runtime import Runtime
from agent.state import State
from agent.status.tables import table


def check(options: argparse.Namespace, _state: State, _runtime: Runtime) -> int:
    """Tell all that is wrong in a node.yaml."""
    check_file(Path(options.file))
    if options.json:
        print_json({"valid": True, "file": options.file})
    else:
        print(f"{options.file}: no errors")
    return 0


def show(options: argparse.Namespace, state: State, _runtime: Runtime) -> int:
    """Show the configuration of this node, and where each value is from."""
    values, origins = read(state, os.environ)
    if options.json:
        print_json({"values": values, "from": origins})
        return 0
    rows = [
        (f"{section}.{key}", _words(value), origins[section][key])
        for section, keys in values.items()
        for key, value in keys.items()
    ]
    print(table(("KEY", "VALUE", "FROM"), rows))
    return 0


def read(
    state: State, environment: Mapping[str, str]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, str]]]:
    """Return all values by section and key, and in the same form the layer that each one is from.

    Raises ClusterError with all that is wrong in all layers.
    """
    errors: list[str] = []
    sources = read_sources(state.folder, environment, errors)
    values = {section: keys._asdict() for section, keys in merge(sources, errors)._asdict().items()}
    origins = {
        section: {
            key: next(source.name for source in reversed(sources) if key in source.values.get(section, ()))
            for key in keys
        }
        for section, keys in values.items()
    }
    return values, origins


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
