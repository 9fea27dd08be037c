# SPDX-License-Identifier: Apache-2.0
"""The daemon's part in users: who brings the first ones, and what an operator is answered."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from agent.cluster import Account, Credential, Ledger
from agent.errors import ClusterError
from agent.membership import commands
from agent.membership.secrets import NodeSecrets
from agent.service.consensus import Consensus, Done
from agent.service.membership import Membership
from agent.service.requests import Request
from agent.service.users import PATIENCE, Users
from agent.users.change import Change
from tests.example_users import ALICE, BOB, HASH, MAPS
from tests.small_cluster import (
    ADMISSION,
    FOUNDERS,
    GOSSIP_KEY,
    NODES,
    RAFT_PASSWORD,
    Log,
    make_credential,
    make_genesis,
)

ME, JOINER = FOUNDERS[0], NODES[4]
CREDENTIAL = replace(make_credential(), users=(ALICE, BOB))


class Leader:
    """Commits to a ledger at once; as Raft it is the leader, or not."""

    def __init__(self, *, leads: bool = True) -> None:
        self.log = Log(make_genesis())
        self.leader_since = 1.0 if leads else None
        self.commands: list[bytes] = []
        self.deaf = False

    def commit(self, command: bytes, done: Done) -> None:
        self.commands.append(command)
        if not self.deaf:
            result = self.log.take(command)
            done(result.applied, result.reason)

    def membership(self) -> Membership:
        return make_membership(self.log.ledger)


def make_membership(ledger: Ledger) -> Membership:
    secrets = NodeSecrets(ledger.genesis, 1, GOSSIP_KEY, RAFT_PASSWORD, ADMISSION)
    return Membership(b"", make_genesis(), ledger, secrets)


def begin(
    leader: Leader, users: Users, credential: Credential | None = CREDENTIAL, me: str = ME, now: float = 0.0
) -> str:
    return users.begin(leader.membership(), credential, cast("Consensus", leader), me, now)


def ask(leader: Leader, **content: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    """Ask as the operator does; what is to be committed is."""
    request = Request(content)

    def commit(command: bytes) -> None:
        result = leader.log.take(command)
        request.say(result.reason)

    Users().answer(leader.membership(), request, commit)
    return request.wait()


def test_the_leader_brings_the_users_of_its_bundle_once() -> None:
    leader, users = Leader(), Users()
    assert begin(leader, users) == "begins with the users of its bundle: 2"
    assert users.open(leader.membership()) == {"alice": ALICE, "bob": BOB}
    leader.log.apply(commands.users(Change(drop=("alice", "bob")), RAFT_PASSWORD))
    assert begin(leader, users, now=100.0) == "", "whom an operator removed stays away"
    assert users.open(leader.membership()) == {}
    assert len(leader.commands) == 1


def test_nobody_else_brings_users() -> None:
    assert begin(Leader(leads=False), Users()) == ""
    assert begin(Leader(), Users(), me=JOINER) == ""
    assert begin(Leader(), Users(), credential=None) == ""
    assert begin(Leader(), Users(), credential=make_credential()) == ""


def test_what_nobody_heard_of_is_tried_again_after_a_while() -> None:
    leader, users = Leader(), Users()
    leader.deaf = True
    assert begin(leader, users)
    assert begin(leader, users, now=PATIENCE / 2) == ""
    assert begin(leader, users, now=PATIENCE)
    assert len(leader.commands) == 2


def test_a_hash_that_cannot_be_opened_costs_its_user_the_password_alone() -> None:
    leader = Leader()
    begin(leader, Users())
    accounts = leader.log.ledger.users
    damaged = replace(
        leader.log.ledger, users={**accounts, "alice": Account(accounts["alice"].user, b"damaged")}
    )
    found = Users().open(make_membership(damaged))
    assert found == {"alice": replace(ALICE, password_hash=None), "bob": BOB}


def test_an_operator_sees_and_changes_users_and_no_hash() -> None:
    leader = Leader()
    assert ask(leader, request="users") == {"users": [], "revision": 0}
    assert ask(leader, request="users-set", users=list(MAPS.values())) == {
        "sentence": "users: set alice, bob"
    }
    assert ask(leader, request="users-set", users=list(MAPS.values()))["sentence"] == "users: nothing changes"
    shown = ask(leader, request="users")
    assert [(user["name"], user["has_password"]) for user in shown["users"]] == [
        ("alice", True),
        ("bob", False),
    ]
    assert HASH not in json.dumps(shown)
    ask(leader, request="users-change", name="bob", values={"password_hash": HASH})
    assert Users().open(leader.membership())["bob"].password_hash == HASH
    ask(leader, request="users-add", user={"name": "carol", "uid": 1003})
    assert ask(leader, request="users-remove", name="bob")["sentence"] == "users: removed bob"
    assert set(leader.log.ledger.users) == {"alice", "carol"}


def test_an_empty_set_is_a_decision_too() -> None:
    leader = Leader()
    assert ask(leader, request="users-set", users=[])["sentence"] == "users: none"
    assert begin(leader, Users()) == ""


def test_who_is_no_member_knows_no_users() -> None:
    with pytest.raises(ClusterError, match="no member"):
        Users().answer(None, Request({"request": "users"}), lambda _: None)
