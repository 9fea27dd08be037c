# SPDX-License-Identifier: Apache-2.0
"""The cluster's users in the daemon: begins with those of the bundle, opens them, has them changed."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from agent.cluster import Account, Credential
from agent.errors import ClusterError
from agent.membership import commands
from agent.service.consensus import Consensus
from agent.service.membership import Membership
from agent.service.requests import Request
from agent.users import change as changes
from agent.users.change import Change
from agent.users.password import open_hash
from agent.users.user import User, to_json

PATIENCE = 10.0
"""Seconds after which the first users are committed again, where nothing was heard of it."""
_log = logging.getLogger("users")


class Users:
    """All on the loop's thread."""

    def __init__(self) -> None:
        self._opened_of: Mapping[str, Account] | None = None
        self._opened: dict[str, User] = {}
        self._again = float("-inf")

    def open(self, membership: Membership) -> dict[str, User]:
        """Return the users by name, with their password hashes: secret. One whose box is damaged has none."""
        accounts = membership.ledger.users
        if accounts is not self._opened_of:
            self._opened = {
                name: _open(accounts[name], membership.secrets.raft_password) for name in sorted(accounts)
            }
            self._opened_of = accounts
        return self._opened

    def begin(
        self, membership: Membership, credential: Credential | None, consensus: Consensus, me: str, now: float
    ) -> str:
        """Have a new cluster begin with the users of its bundle; return what was begun, empty for nothing.

        This is for the leader, while nobody ever set users. Only a founder brings some: it stood in the
        credential that the cluster was founded with.
        """
        users = credential.users if credential is not None else ()
        if not users or membership.ledger.users_revision or me not in membership.genesis.founders:
            return ""
        if consensus.leader_since is None or now < self._again:
            return ""
        self._again = now + PATIENCE

        def done(applied: bool, reason: str) -> None:
            (_log.info if applied else _log.warning)("%s", reason)

        command = commands.users(Change(users), membership.secrets.raft_password, base=0)
        consensus.commit(command, done)
        return f"begins with the users of its bundle: {len(users)}"

    def answer(
        self, membership: Membership | None, request: Request, commit: Callable[[bytes], None]
    ) -> None:
        """Answer a request about users; `commit` has a command committed and the request answered."""
        if membership is None:
            raise ClusterError(
                "this node is no member of a cluster, so it knows no users", hint="see: node-agent status"
            )
        before, content = self.open(membership), request.content
        if content["request"] == "users":
            users = [to_json(user, secret=False) for user in before.values()]
            request.answer({"users": users, "revision": membership.ledger.users_revision})
            return
        change = _plan(before, content)
        if change == Change() and membership.ledger.users_revision:
            request.say("users: nothing changes")
            return
        base = membership.ledger.users_revision
        commit(commands.users(change, membership.secrets.raft_password, base=base))


def _plan(before: Mapping[str, User], content: Mapping[str, Any]) -> Change:
    match content["request"]:
        case "users-set":
            return changes.replace_all(before, content["users"])
        case "users-add":
            return changes.add(before, content["user"])
        case "users-change":
            return changes.change(before, content["name"], content["values"])
        case _:
            return changes.remove(before, content["name"])


def _open(account: Account, raft_password: str) -> User:
    user = account.user
    if account.password is None:
        return user
    try:
        password_hash = open_hash(raft_password, user.name, account.password)
    except ClusterError as error:
        _log.warning("%s", error.message)
        return user
    return User(user.name, user.uid, user.groups, user.ssh_keys, user.shell, password_hash)
