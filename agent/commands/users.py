# SPDX-License-Identifier: Apache-2.0
"""Commands on the users of the cluster: `users list`, `set`, `add`, `change`, `remove`; the agent does it."""

import argparse
from typing import Any

from agent.commands.observe import ask_agent
from agent.commands.output import confirm, print_json, read_input
from agent.control.client import ask
from agent.control.protocol import printable
from agent.control.runtime import Runtime
from agent.errors import ClusterError
from agent.state import State
from agent.status.tables import table
from agent.users.user import to_json
from agent.users.user_file import HINT, MAX_FILE, decode_users

_HASH_HINT = "give what this prints: openssl passwd -6"
_MAX_KEYS_FILE = 64 << 10


def list_users(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """List the users of the cluster."""
    users = _ask_users(runtime)
    if options.json:
        print_json({"users": users})
    elif not users:
        print("the cluster has no users")
    else:
        rows = [
            (
                *(
                    user["name"],
                    str(user["uid"]),
                    ",".join(user["groups"]) or "-",
                    str(len(user["ssh_keys"])),
                ),
                *("yes" if user["has_password"] else "no", user["shell"]),
            )
            for user in users
        ]
        print(printable(table(("NAME", "UID", "GROUPS", "SSH KEYS", "PASSWORD", "SHELL"), rows)))
    return 0


def set_users(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Make the users of the cluster those of a file, and no others."""
    where = "standard input" if options.file == "-" else options.file
    users = decode_users(read_input(options.file, MAX_FILE, HINT), where)
    gone = sorted({user["name"] for user in _ask_users(runtime)} - {user.name for user in users})
    if gone:
        confirm(f"{', '.join(gone)} will be removed", yes=options.yes)
    content = [to_json(user, secret=True) for user in users]
    return _tell(options, ask_agent(runtime, {"request": "users-set", "users": content}))


def add(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Add a user."""
    user = {"name": options.name, "uid": options.uid, **_read_values(options)}
    return _tell(options, ask_agent(runtime, {"request": "users-add", "user": user}))


def change(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Change what is given of a user."""
    values = _read_values(options)
    if not values:
        raise ClusterError("nothing to change is given", hint="see: node-agent users change --help")
    request = {"request": "users-change", "name": options.name, "values": values}
    return _tell(options, ask_agent(runtime, request))


def remove(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Remove a user; the files stay."""
    confirm(f"user {options.name[:40]} will be removed", yes=options.yes)
    return _tell(options, ask_agent(runtime, {"request": "users-remove", "name": options.name}))


def _read_values(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the options give, in the form of the file of users."""
    values: dict[str, Any] = {}
    if options.groups is not None:
        values["groups"] = [group for group in options.groups.split(",") if group]
    if options.ssh_keys is not None:
        text = _read_text(options.ssh_keys, _MAX_KEYS_FILE, "give a file as ssh-keygen makes it, NAME.pub")
        lines = (line.strip() for line in text.splitlines())
        values["ssh_keys"] = [line for line in lines if line and not line.startswith("#")]
    if options.password_hash is not None:
        values["password_hash"] = _read_text(options.password_hash, 1024, _HASH_HINT).strip() or None
    if options.shell is not None:
        values["shell"] = options.shell
    return values


def _read_text(name: str, limit: int, hint: str) -> str:
    if not name:
        return ""
    try:
        return read_input(name, limit, hint).decode()
    except UnicodeDecodeError:
        raise ClusterError(f"{name} is no text", hint=hint) from None


def _ask_users(runtime: Runtime) -> list[dict[str, Any]]:
    users = ask(runtime.socket, {"request": "users"}).get("users")
    if not isinstance(users, list) or not all(isinstance(user, dict) and _is_user(user) for user in users):
        raise ClusterError("that is no answer of an agent", hint="restart clusteros-agent")
    return users


def _row(user: dict[str, Any]) -> tuple[str, ...]:
    groups, keys = ",".join(map(str, user["groups"])) or "-", str(len(user["ssh_keys"]))
    password = "yes" if user["has_password"] else "no"
    return user["name"], str(user["uid"]), groups, keys, password, user["shell"]


def _is_user(user: dict[str, Any]) -> bool:
    kinds = {"name": str, "uid": int, "groups": list, "ssh_keys": list, "has_password": bool, "shell": str}
    return all(isinstance(user.get(key), kind) for key, kind in kinds.items())


def _tell(options: argparse.Namespace, sentence: str) -> int:
    if options.json:
        print_json({"sentence": sentence})
    else:
        print(sentence)
    return 0
