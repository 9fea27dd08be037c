# SPDX-License-Identifier: Apache-2.0
"""Users in the ledger: put and dropped in one step or not at all, with password hashes that stay closed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import wire
from agent.cluster import Account
from agent.errors import ClusterError
from agent.membership import commands
from agent.membership.ledger import begin, reduce
from agent.membership.ledger_file import check_ledger, decode_ledger, differs_durably, encode_ledger
from agent.users.change import Change
from agent.users.password import close_hash, open_hash
from agent.users.user import User, check_together
from tests.example_users import ALICE, BOB, HASH
from tests.small_cluster import RAFT_PASSWORD, Log, make_genesis
from tests.wire_values import wire_values

CAROL = User("carol", 1003, ("physics:5000",))


@pytest.fixture
def log() -> Log:
    """A cluster of three founders, of policy auto."""
    return Log(make_genesis())


def users(*put: User, drop: tuple[str, ...] = (), base: int | None = None) -> bytes:
    return commands.users(Change(put, drop), RAFT_PASSWORD, base)


def test_users_come_change_and_go(log: Log) -> None:
    assert log.ledger.users_revision == 0
    log.apply(users(ALICE, BOB, base=0))
    assert log.ledger.users_revision == log.ledger.revision == 1
    assert log.ledger.users["bob"] == Account(BOB, None)
    log.apply(users(CAROL, replace(BOB, shell="/bin/bash"), drop=("alice",), base=1))
    assert set(log.ledger.users) == {"bob", "carol"}
    assert log.ledger.users["bob"].user.shell == "/bin/bash"
    log.apply(users(drop=("bob", "carol")))
    assert log.ledger.users == {}
    assert log.ledger.users_revision == 3


def test_a_hash_is_closed_in_the_ledger_and_opens_for_members(log: Log) -> None:
    log.apply(users(ALICE))
    account = log.ledger.users["alice"]
    assert account.user == replace(ALICE, password_hash=None)
    assert account.password is not None
    for data in (users(ALICE), encode_ledger(log.ledger), repr(log.ledger).encode()):
        assert HASH.encode() not in data
        assert HASH[-40:].encode() not in data
    assert open_hash(RAFT_PASSWORD, "alice", account.password) == HASH
    for password, name, box in (
        ("other password", "alice", account.password),
        (RAFT_PASSWORD, "bob", account.password),
        (RAFT_PASSWORD, "alice", account.password[:-1] + bytes([account.password[-1] ^ 1])),
        (RAFT_PASSWORD, "alice", b""),
        (RAFT_PASSWORD, "alice", close_hash(RAFT_PASSWORD, "alice", "no hash")),
    ):
        with pytest.raises(ClusterError, match="cannot be read"):
            open_hash(password, name, box)


def test_what_cannot_be_changes_nothing_and_says_why(log: Log) -> None:
    log.apply(users(ALICE, BOB))
    log.refuse(users(CAROL, base=0), "changed by somebody else")
    log.refuse(users(drop=("carol",)), "there is no user carol")
    log.refuse(users(ALICE, drop=("alice",)), "a user is to come and to go")
    log.refuse(users(replace(CAROL, uid=1001)), "have the number 1001")
    log.refuse(users(replace(CAROL, groups=("alice:5001",))), "that of the user alice")
    log.refuse(users(User("root", 1003)), "users: name: must be")
    log.refuse(users(User("eve", 0)), "users: uid: must be")
    log.refuse(users(User("eve", 1005, ("sudo",))), "users: groups: must be")
    log.refuse(users(User("eve", 1005, shell="/bin/evil")), "users: shell: must be")
    log.refuse(users(User("eve", 1005, ssh_keys=('command="x" ssh-rsa AAAA',))), "users: ssh_keys: must be")
    body = wire.unpack(users(CAROL))
    log.refuse(wire.pack({**body, "put": body["put"] * 2}), "the user carol is there twice")
    assert set(log.ledger.users) == {"alice", "bob"}


def test_a_ledger_with_users_survives_its_file(log: Log) -> None:
    without = log.ledger
    assert "users" not in wire.unpack(encode_ledger(without)[32:])
    log.apply(users(BOB, ALICE))
    found = decode_ledger(encode_ledger(log.ledger), "FILE")
    assert found == log.ledger
    check_ledger(found, log.genesis, found.genesis)
    assert differs_durably(without, found)
    clash = {**found.users, "carol": Account(replace(CAROL, uid=1001))}
    with pytest.raises(ClusterError, match="do not go together"):
        check_ledger(replace(found, users=clash), log.genesis, found.genesis)


@settings(deadline=None)
@given(st.data())
def test_a_command_with_any_value_in_any_field_is_applied_or_refused(data: st.DataObject) -> None:
    genesis = make_genesis()
    ledger, _ = reduce(begin(genesis), users(ALICE, BOB), genesis)
    body: dict[str, Any] = wire.unpack(users(CAROL, drop=("bob",)))
    if data.draw(st.booleans()):
        body[data.draw(st.sampled_from(sorted(body)))] = data.draw(wire_values)
    else:
        inner = body["put"][0]
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(wire_values)
    changed, result = reduce(ledger, wire.pack(body), genesis)
    assert result.reason
    errors: list[str] = []
    check_together((account.user for account in changed.users.values()), errors)
    assert errors == []
    assert decode_ledger(encode_ledger(changed), "FILE") == changed
    assert changed is ledger or changed.users_revision == changed.revision


@settings(deadline=None)
@given(wire_values, st.data())
def test_a_ledger_file_with_any_value_of_users_is_read_or_refused(value: object, data: st.DataObject) -> None:
    genesis = make_genesis()
    ledger, _ = reduce(begin(genesis), users(ALICE, BOB), genesis)
    body = wire.unpack(encode_ledger(ledger)[32:])
    target = data.draw(st.sampled_from([body["users"], body["users"]["accounts"][0]]))
    target[data.draw(st.sampled_from(sorted(target)))] = value
    packed = wire.pack(body)
    whole = wire.digest("cluster/ledger", packed) + packed
    try:
        found = decode_ledger(whole, "FILE")
    except ClusterError:
        return
    assert encode_ledger(found) == whole
