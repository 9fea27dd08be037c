# SPDX-License-Identifier: Apache-2.0
"""Commands on who this node is: `init` and `info`. They need no agent and no network."""

import argparse
import os
import sys
from pathlib import Path

from agent import files, keystore
from agent.commands.output import print_json
from agent.control.runtime import Runtime
from agent.report import read_info, read_status, show_info
from agent.state import State
from agent.tree import Tree


def init(options: argparse.Namespace, state: State, _runtime: Runtime) -> int:
    """Make the identity of this node unless it has one, and show it."""
    from agent.config import read_config  # noqa: PLC0415  YAML is slow to load, and `info` does without

    files.make_folder(state.folder, mode=0o700)
    with files.lock(state.folder):
        stored = keystore.load(state.identity)
        if stored is None:
            # Refuses where a record says that this machine was a node already.
            read_status(state, Path("/"))
            policy = read_config(state.folder, os.environ).identity.seal
            tpm = keystore.choose_tpm(policy, keystore.find_tpm())
            stored = keystore.make(state.identity, tpm=tpm)
            print(f"made the identity of this node in {state.identity}", file=sys.stderr)
        else:
            print(f"this node has an identity already, in {state.identity}", file=sys.stderr)
    identity = stored.identity
    if options.json:
        print_json(
            {"node_id": identity.node_id, "fingerprint": identity.fingerprint, "hostname": identity.hostname}
        )
    else:
        print(f"{'node ID':<15}{identity.node_id}\n{'fingerprint':<15}{identity.fingerprint}")
        print(f"{'host name':<15}{identity.hostname}")
    return 0


def info(options: argparse.Namespace, state: State, _runtime: Runtime) -> int:
    """Show who this node is and what hardware it has."""
    found, hardware = read_info(state, Tree())
    if options.json:
        print_json(found)
    else:
        print(show_info(found, hardware))
    return 0
