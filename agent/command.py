# SPDX-License-Identifier: Apache-2.0
"""The command `node-agent`: its arguments, and which function answers. Nothing else is decided here."""

import argparse
import json
import os
import sys
from pathlib import Path

from agent import files, keystore
from agent.errors import ClusterError
from agent.report import NO_IDENTITY_HINT, read_info, read_status, show_info
from agent.state import DEFAULT_FOLDER, VARIABLE, State, find_state
from agent.tree import Tree

_STATUSES = """exit status:
  0  done
  1  it failed, and standard error says why; verify: the signature is bad
  2  wrong usage
  3  status: this node is not set up yet
"""


def main(arguments: list[str]) -> int:
    """Run `node-agent` with these arguments and return its exit status."""
    try:
        options = _parser().parse_args(arguments)
        status: int = options.run(options, find_state(options.state))
        sys.stdout.flush()
    except ClusterError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has enough; keep Python from complaining again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def init(options: argparse.Namespace, state: State) -> int:
    """Make the identity of this node unless it has one, and show it."""
    from agent.config import read_config  # noqa: PLC0415  YAML is slow to load, and only this command needs it

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
        _print_json(
            {"node_id": identity.node_id, "fingerprint": identity.fingerprint, "hostname": identity.hostname}
        )
    else:
        print(f"{'node ID':<15}{identity.node_id}\n{'fingerprint':<15}{identity.fingerprint}")
        print(f"{'host name':<15}{identity.hostname}")
    return 0


def info(options: argparse.Namespace, state: State) -> int:
    """Show who this node is and what hardware it has."""
    tree = Tree()
    found, hardware = read_info(state, tree)
    if options.json:
        _print_json(found)
    else:
        print(show_info(found, hardware))
    return 0


def status(options: argparse.Namespace, state: State) -> int:
    """Say in one sentence where this node stands."""
    found = read_status(state, Path("/"))
    if options.json:
        _print_json(found)
    else:
        print(found["sentence"])
    return 0 if found["first_boot_complete"] else 3


def sign(options: argparse.Namespace, state: State) -> int:
    """Sign a message with the node key and print the signature as JSON."""
    from agent import signature  # noqa: PLC0415

    message = _read_input(options.file, signature.MAX_MESSAGE_BYTES)
    stored = keystore.load(state.identity)
    if stored is None:
        raise ClusterError("this node has no identity to sign with", hint=NO_IDENTITY_HINT)
    seed = keystore.open_seed(stored, state.identity, tpm=keystore.find_tpm())
    print(signature.encode(signature.sign(seed, signature.MESSAGE, message)))
    return 0


def verify(options: argparse.Namespace, _state: State) -> int:
    """Check the signature of a message."""
    from agent import signature  # noqa: PLC0415

    if options.signature == options.file == "-":
        raise ClusterError("signature and message cannot both be standard input", hint="name a file for one")
    made = signature.decode(_read_input(options.signature, 64 << 10), options.signature)
    if options.node and made.node_id != options.node:
        raise ClusterError(f"bad signature: it is of node {made.node_id}, not of {options.node}")
    signature.verify(made, signature.MESSAGE, _read_input(options.file, signature.MAX_MESSAGE_BYTES))
    if options.json:
        _print_json({"valid": True, "node_id": made.node_id})
    else:
        print(f"good signature of node {made.node_id}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="node-agent",
        description="Show and use the identity of this Cluster-OS node.",
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--state",
        metavar="DIR",
        help=f"folder of the node's state (default: {VARIABLE} of the environment, else {DEFAULT_FOLDER})",
    )
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for run in (init, info, status, sign, verify):
        parents = [where] if run is sign else [where, as_json]
        command = commands.add_parser(
            run.__name__,
            parents=parents,
            help=(run.__doc__ or "").rstrip("."),
            description=run.__doc__,
            epilog=_STATUSES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.set_defaults(run=run)
        if run is verify:
            command.add_argument("--node", metavar="ID", help="accept a signature of this node only")
            command.add_argument(
                "signature", metavar="SIGNATURE", help="file that `node-agent sign` printed; - for stdin"
            )
        if run in (sign, verify):
            command.add_argument(
                "file", metavar="FILE", nargs="?", default="-", help="message (default: stdin)"
            )
    return parser


def _read_input(name: str, limit: int) -> bytes:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise ClusterError(
            f"cannot read {name}: {(error.strerror or str(error)).lower()}", hint="check the name of the file"
        ) from None
    if len(data) > limit:
        raise ClusterError(
            f"{'standard input' if name == '-' else name} is longer than {limit} bytes",
            hint="sign or verify its SHA-256 sum instead",
        )
    return data


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2))
