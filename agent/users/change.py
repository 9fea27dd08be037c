# SPDX-License-Identifier: Apache-2.0
"""A change of the cluster's users, as an operator wants it: what the ledger has to change for it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent import rule
from agent.errors import ClusterError
from agent.users.user import RULES, User, check_together, read_users

HINT = "see: node-agent users --help, and docs/cluster.md"


@dataclass(frozen=True)
class Change:
    """Users that are new or other than before, and the names of those that go."""

    put: tuple[User, ...] = ()
    drop: tuple[str, ...] = ()


def replace_all(before: Mapping[str, User], values: object) -> Change:
    """Return the change to exactly the users in `values`, a list of maps; ClusterError with all faults."""
    errors: list[str] = []
    wanted = {user.name: user for user in read_users(values, errors)}
    rule.refuse("the users", errors, HINT)
    put = tuple(user for name, user in sorted(wanted.items()) if before.get(name) != user)
    return Change(put, tuple(sorted(before.keys() - wanted.keys())))


def add(before: Mapping[str, User], value: object) -> Change:
    """Return the change to one user more, a map."""
    errors: list[str] = []
    users = read_users([value], errors)
    rule.refuse("the user", [line.replace("users[0].", "") for line in errors], HINT)
    (user,) = users
    if user.name in before:
        raise ClusterError(f"there is a user {user.name} already", hint="node-agent users change NAME")
    return _checked({**before, user.name: user}, Change((user,)))


def change(before: Mapping[str, User], name: str, values: Mapping[str, Any]) -> Change:
    """Return the change of some values of the user `name`; its name and number stay."""
    known = _find(before, name)
    errors: list[str] = []
    rules = {key: each for key, each in RULES.items() if key not in ("name", "uid")}
    old = {key: getattr(known, key) for key in rules}
    found = rule.read_all(values, rules, errors, defaults=old)
    rule.refuse("the user", errors, HINT)
    user = User(known.name, known.uid, **found)
    return _checked({**before, name: user}, Change((user,) if user != known else ()))


def remove(before: Mapping[str, User], name: str) -> Change:
    """Return the change to one user less."""
    return Change(drop=(_find(before, name).name,))


def _find(before: Mapping[str, User], name: str) -> User:
    if name not in before:
        raise ClusterError(f"there is no user {name[:40]!r}", hint="see: node-agent users list")
    return before[name]


def _checked(after: Mapping[str, User], change: Change) -> Change:
    errors: list[str] = []
    check_together(after.values(), errors)
    rule.refuse("the users", errors, HINT)
    return change
