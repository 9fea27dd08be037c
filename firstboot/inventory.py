# SPDX-License-Identifier: Apache-2.0
"""Write down the hardware of this machine. Runs at every boot, when the drivers are loaded. Owns facts.json.

Apart from the identity because it needs what the identity must not wait for: every device.
"""

import sys
from pathlib import Path

from agent import facts, files
from agent.errors import ClusterError
from agent.state import DEFAULT_FOLDER, State
from agent.tree import Tree


def main(arguments: list[str]) -> int:
    """Take the facts of the machine below the first argument (default: /). Returns the exit status."""
    root = Path(arguments[0] if arguments else "/")
    try:
        take(root, State(root / DEFAULT_FOLDER.relative_to("/")))
    except ClusterError as error:
        print(f"error: {error.message}", file=sys.stderr)
        print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def take(root: Path, state: State) -> None:
    """Write facts.json unless it holds the present hardware already. Safe to be killed at any point."""
    hardware = facts.read_facts(Tree(str(root)))
    content = facts.encode(hardware)
    files.make_folder(state.folder, mode=0o711)
    with files.lock(state.folder):
        known = Tree(str(state.folder)).data(state.facts.name)
        if known != content:
            files.replace(state.facts, content, mode=0o600)
    change = "" if known == content else " (new)" if known is None else " (changed)"
    print(f"hardware{change}: {facts.summarise(hardware)}", flush=True)
