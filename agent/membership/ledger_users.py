# SPDX-License-Identifier: Apache-2.0
"""The command of the ledger about users: `users`, which puts some and drops some in one step. Pure.

The password hash of a user is in a box (agent/users/password.py), which nothing here opens.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent import rule, wire
from agent.cluster import Account, Genesis, Ledger
from agent.errors import ClusterError
from agent.membership.ledger_leases import LAST
from agent.users.password import MAX_BOX
from agent.users.user import DEFAULTS, MAX_GROUPS, MAX_KEYS, MAX_USERS, RULES, User, check_together

_SHOWN = 5  # how many names a sentence has


def change_users(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Put and drop users; refused when `base` is not nil, and they were changed since."""
    base = None if fields.nil("base") else fields.integer("base", 0, LAST)
    put = read_accounts(fields, "put")
    drop = fields.texts("drop", most=MAX_USERS, max=31)
    fields.done()
    if base is not None and base != ledger.users_revision:
        raise ClusterError("the users were changed by somebody else in the meantime")
    missing = sorted(set(drop) - ledger.users.keys())
    if missing or put.keys() & set(drop):
        raise ClusterError(f"there is no user {missing[0]}" if missing else "a user is to come and to go")
    users = {name: account for name, account in ledger.users.items() if name not in drop} | put
    errors: list[str] = []
    check_together((account.user for account in users.values()), errors)
    if errors:
        raise ClusterError(errors[0])
    changed = replace(ledger, users=users, users_revision=ledger.revision + 1)
    done = [f"{verb} {_names(names)}" for verb, names in (("set", sorted(put)), ("removed", drop)) if names]
    return changed, f"users: {', '.join(done) or 'none'}"


def account_fields(account: Account) -> dict[str, Any]:
    """Return the map that `read_accounts` reads."""
    user = account.user
    return {
        "name": user.name,
        "uid": user.uid,
        "groups": list(user.groups),
        "ssh_keys": list(user.ssh_keys),
        "shell": user.shell,
        "password": account.password,
    }


def read_accounts(fields: wire.Fields, name: str) -> dict[str, Account]:
    """Return the accounts in a field, by name, each good by itself; ClusterError for anything else."""
    found: dict[str, Account] = {}
    for each in fields.maps(name, most=MAX_USERS):
        content = {
            "name": each.text("name", max=31),
            "uid": each.integer("uid", 0, LAST),
            "groups": list(each.texts("groups", most=MAX_GROUPS, max=40)),
            "ssh_keys": list(each.texts("ssh_keys", most=MAX_KEYS, max=2100)),
            "shell": each.text("shell", max=40),
        }
        password = None if each.nil("password") else each.bytes("password", max=MAX_BOX)
        each.done()
        user = _read_user(content)
        if user.name in found:
            raise ClusterError(f"the user {user.name} is there twice")
        found[user.name] = Account(user, password)
    return found


def _read_user(content: Mapping[str, Any]) -> User:
    errors: list[str] = []
    values = rule.read_all(content, RULES, errors, "users: ", DEFAULTS)
    if errors:
        raise ClusterError(errors[0])
    return User(**values)


def _names(names: "tuple[str, ...] | list[str]") -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
