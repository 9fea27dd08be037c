# SPDX-License-Identifier: Apache-2.0
"""The arguments of `node-agent`, and which function answers each command. Loads none of the commands.

The man page and the completion of shells are made from it (agent/commands/reference.py).
"""

import argparse
import importlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from agent.control.runtime import DEFAULT_FOLDER as RUN_FOLDER
from agent.control.runtime import VARIABLE as RUN_VARIABLE
from agent.control.runtime import Runtime
from agent.state import DEFAULT_FOLDER, VARIABLE, State

STATUSES = """exit status:
  0  done; status: a member, and healthy
  1  it failed, and standard error says why; verify: the signature is bad
  2  wrong usage
  3  status: this node is not set up yet
  4  status: no member yet: it waits for a credential, forms a cluster or joins one
  5  status: pending until an operator approves it
  6  status: removed from the cluster, or quarantined
  7  status: a member, and something needs attention
  8  status, members, leaders, roles: the agent is not running; what is shown is the last known state
"""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Run = Callable[[argparse.Namespace, State, Runtime], int]


class Argument(NamedTuple):
    """An argument of a command: the names and the options of argparse's add_argument."""

    names: tuple[str, ...]
    options: dict[str, Any]


class Command(NamedTuple):
    """A command: `function` is MODULE.FUNCTION below agent.commands."""

    name: str
    function: str
    help: str
    arguments: tuple[Argument, ...] = ()
    json: bool = True
    parts: tuple["Command", ...] = ()


def _argument(*names: str, **options: Any) -> Argument:  # noqa: ANN401  argparse's
    return Argument(names, options)


def duration(text: str) -> int:
    """Return the seconds of a length of time as people write it: 90s, 30m, 24h, 7d."""
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time: give for example 30m, 24h or 7d")
    return int(found[1]) * _UNITS[found[2]]


_NODE = _argument(
    "node", metavar="ID", help="a node ID, 4 or more characters of its beginning, or a host name"
)
_JSON = _argument("--json", action="store_true", help="print JSON")
_STATE = _argument(
    "--state",
    metavar="DIR",
    help=f"folder of the node's state (default: {VARIABLE} of the environment, else {DEFAULT_FOLDER})",
)
_RUN = _argument(
    "--run",
    metavar="DIR",
    dest="run_folder",
    help=f"folder of the running agent (default: {RUN_VARIABLE} of the environment, else {RUN_FOLDER})",
)
_YES = _argument("--yes", action="store_true", help="do not ask for confirmation")
_MESSAGE = _argument("file", metavar="FILE", nargs="?", default="-", help="message (default: stdin)")

_CONFIG = (
    Command(
        "check",
        "configuration.check",
        "Tell all that is wrong in a node.yaml.",
        (_argument("file", metavar="FILE", help="the file"),),
    ),
    Command(
        "show", "configuration.show", "Show the configuration of this node, and where each value is from."
    ),
)
_ROLE = (
    Command(
        "check",
        "roles.check",
        "Tell all that is wrong with a role.",
        (_argument("folder", metavar="DIR", help="the folder with its role.yaml"),),
    ),
    Command(
        "reset",
        "roles.reset",
        "Have a role of kind servers begin anew, without its data, when none of its servers is left.",
        (_argument("name", metavar="ROLE", help="the role, as `node-agent roles` names it"), _YES),
    ),
)
_NAME = _argument("name", metavar="NAME", help="name of the user")
_GROUPS = _argument(
    "--groups",
    metavar="GROUP,…",
    help="further groups: render, video, or NAME:GID, a group of the cluster; empty for none",
)
_SSH_KEYS = _argument("--ssh-keys", metavar="FILE", help="public SSH keys, a line each; empty for none")
_PASSWORD = _argument(
    "--password-hash",
    metavar="FILE",
    help="a password's hash, as `openssl passwd -6` prints it, - for stdin; empty for no password",
)
_SHELL = _argument("--shell", metavar="PATH", help="/bin/bash, /bin/sh or /usr/sbin/nologin")
_USERS = (
    Command("list", "users.list_users", "List the users of the cluster."),
    Command(
        "set",
        "users.set_users",
        "Make the users of the cluster those of a file, and no others.",
        (_argument("file", metavar="FILE", help="users.yaml as in a cluster's bundle; - for stdin"), _YES),
    ),
    Command(
        "add",
        "users.add",
        "Add a user.",
        (
            _NAME,
            _argument(
                "--uid", metavar="N", type=int, required=True, help="number of user and group, 1000 to 59999"
            ),
            *(_GROUPS, _SSH_KEYS, _PASSWORD, _SHELL),
        ),
    ),
    Command(
        "change",
        "users.change",
        "Change what is given of a user.",
        (_NAME, _GROUPS, _SSH_KEYS, _PASSWORD, _SHELL),
    ),
    Command("remove", "users.remove", "Remove a user; the files stay.", (_NAME, _YES)),
)
COMMANDS = (
    Command("init", "identity.init", "Make the identity of this node unless it has one, and show it."),
    Command("start", "start.start", "Run the agent in the foreground, as its service does.", json=False),
    Command("status", "status.status", "Say in one sentence where this node stands, and show its cluster."),
    Command(
        "join",
        "admission.join",
        "Give this node a join credential, or tell it of a host of its cluster.",
        (
            _argument(
                "target",
                metavar="CREDENTIAL|HOST[:PORT]",
                help="file with a join credential, - for stdin; or a host that runs Cluster-OS",
            ),
        ),
    ),
    Command("info", "identity.info", "Show who this node is and what hardware it has."),
    Command("members", "cluster.members", "List the members, and who waits for approval."),
    Command("leaders", "cluster.leaders", "Show who leads, and who holds each role of which there is one."),
    Command("roles", "roles.roles", "Show which roles this node has, and why it has not the others."),
    Command("role", "", "Check a role, or have one begin anew.", parts=_ROLE),
    Command("users", "", "Show and change the users of the cluster.", parts=_USERS),
    Command("approve", "admission.approve", "Admit a node that waits for approval.", (_NODE,)),
    Command("remove", "admission.remove", "Remove a member from the cluster for good.", (_NODE, _YES)),
    Command("leave", "admission.leave", "Remove this node from its cluster for good.", (_YES,)),
    Command(
        "recover",
        "recovery.recover",
        "Go on with the members that are left after a majority of the voters was lost for good.",
        (_argument("--yes", action="store_true", help="do it; without, only show what would be dropped"),),
    ),
    Command(
        "token",
        "admission.token",
        "Print a join credential that ends. It is secret.",
        (
            _argument(
                "--ttl", metavar="TIME", type=duration, default="24h", help="30m, 24h, 7d (default: 24h)"
            ),
            _argument("--output", metavar="FILE", help="write it to this new file, which only you can read"),
        ),
    ),
    Command(
        "console",
        "console.console",
        "Show the status screen of the console.",
        json=False,
        arguments=(_argument("--once", action="store_true", help="print it once, as plain text"),),
    ),
    Command("config", "", "Check and show the configuration of this node.", parts=_CONFIG),
    Command(
        "support",
        "support.support",
        "Write an archive with logs and state, without secrets, for who helps you.",
        (_argument("--output", metavar="FILE", help="name of the archive, which must not exist"),),
    ),
    Command(
        "sign",
        "message.sign",
        "Sign a message with the node key and print the signature as JSON.",
        (_MESSAGE,),
    ),
    Command(
        "verify",
        "message.verify",
        "Check the signature of a message.",
        (
            _argument("--node", metavar="ID", help="accept a signature of this node only"),
            _argument(
                "signature", metavar="SIGNATURE", help="file that `node-agent sign` printed; - for stdin"
            ),
            _MESSAGE,
        ),
    ),
)


def make_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; what it parses has `run`, a function of the type `Run`.

    `only` names the command that the caller knows to come first: the others are left out then, as making
    them takes longer than many a command.
    """
    parser = argparse.ArgumentParser(
        prog="node-agent", description="Show and manage this Cluster-OS node and its cluster.", **_texts()
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    names = [command.name for command in COMMANDS]
    for command in COMMANDS:
        if only not in names or command.name == only:
            _add(commands, command)
    return parser


def _add(commands: Any, command: Command) -> None:  # noqa: ANN401  argparse has no public name for it
    help = command.help.rstrip(".")
    parser = commands.add_parser(
        command.name, help=help[0].lower() + help[1:], description=command.help, **_texts()
    )
    if command.parts:
        parts = parser.add_subparsers(metavar="COMMAND", required=True)
        for part in command.parts:
            _add(parts, part)
        return
    parser.set_defaults(run=_load_when_run(command.function))
    for argument in (*command.arguments, *([_JSON] if command.json else []), _STATE, _RUN):
        parser.add_argument(*argument.names, **argument.options)


def _texts() -> dict[str, Any]:
    return {
        "epilog": STATUSES,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _load_when_run(function: str) -> Run:
    def run(options: argparse.Namespace, state: State, runtime: Runtime) -> int:
        module, _, name = function.partition(".")
        loaded: Run = getattr(importlib.import_module(f"agent.commands.{module}"), name)
        return loaded(options, state, runtime)

    return run
