# SPDX-License-Identifier: Apache-2.0
"""Commands on signed messages: `sign` and `verify`."""

import argparse

from agent import keystore, signature
from agent.commands.output import print_json, read_input
from agent.control.runtime import Runtime
from agent.errors import ClusterError
from agent.report import NO_IDENTITY_HINT
from agent.state import State

_TOO_LONG = "sign or verify its SHA-256 sum instead"


def sign(options: argparse.Namespace, state: State, _runtime: Runtime) -> int:
    """Sign a message with the node key and print the signature, which is JSON with or without --json."""
    message = read_input(options.file, signature.MAX_MESSAGE_BYTES, _TOO_LONG)
    stored = keystore.load(state.identity)
    if stored is None:
        raise ClusterError("this node has no identity to sign with", hint=NO_IDENTITY_HINT)
    seed = keystore.open_seed(stored, state.identity, tpm=keystore.find_tpm())
    print(signature.encode(signature.sign(seed, signature.MESSAGE, message)))
    return 0


def verify(options: argparse.Namespace, _state: State, _runtime: Runtime) -> int:
    """Check the signature of a message."""
    if options.signature == options.file == "-":
        raise ClusterError("signature and message cannot both be standard input", hint="name a file for one")
    encoded = read_input(options.signature, 64 << 10, "give the JSON that `node-agent sign` printed")
    made = signature.decode(encoded, options.signature)
    if options.node and made.node_id != options.node:
        raise ClusterError(f"bad signature: it is of node {made.node_id}, not of {options.node}")
    message = read_input(options.file, signature.MAX_MESSAGE_BYTES, _TOO_LONG)
    signature.verify(made, signature.MESSAGE, message)
    if options.json:
        print_json({"valid": True, "node_id": made.node_id})
    else:
        print(f"good signature of node {made.node_id}")
    return 0
