# SPDX-License-Identifier: Apache-2.0
"""What always holds of the ledger, whatever commands come in whatever order, late, doubled or damaged."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent import wire
from agent.cluster import Lease, Ledger, Policy
from agent.errors import ClusterError
from agent.membership import commands
from agent.membership.ledger import begin, reduce
from agent.membership.ledger_file import check_ledger, decode_ledger, encode_ledger
from agent.membership.ledger_servers import MAX_SERVERS
from agent.users.change import Change
from agent.users.user import User
from tests.example_users import HASH
from tests.small_cluster import HARDWARE, NODES, OTHER_HARDWARE, RAFT_PASSWORD, admit, make_genesis
from tests.wire_values import wire_values

# An author of a command: what it does with the ledger as it saw it, which may be an old one.
Author = Callable[[Ledger], bytes]
ROLES, SECRETS = ("web", "mail"), ("token", "web/key")
GENESIS = {policy: make_genesis(policy) for policy in (Policy.AUTO, Policy.APPROVE)}

_node = st.sampled_from(NODES)
_nodes = st.lists(_node, unique=True, max_size=6)
_role = st.sampled_from(ROLES)
_epoch = st.integers(1, 4)
_hardware = st.sampled_from([None, OTHER_HARDWARE])


def _renew(role: str, epoch: int | None, node: str) -> Author:
    """Renew as the holder of what was seen, or as somebody with an epoch of his own."""

    def author(seen: Ledger) -> bytes:
        lease = seen.leases.get(role)
        if epoch is None and lease and lease.holder:
            return commands.lease_renew(role, lease.holder, lease.epoch)
        return commands.lease_renew(role, node, epoch or 1)

    return author


def _release(role: str, node: str, epoch: int) -> Author:
    def author(seen: Ledger) -> bytes:
        lease = seen.leases.get(role)
        return commands.lease_release(role, (lease and lease.holder) or node, lease.epoch if lease else epoch)

    return author


def _vote(node: str) -> Author:
    return lambda seen: commands.set_voters(set(seen.voters) ^ {node})


def _share(name: str, nodes: list[str], role: str | None, epoch: int) -> Author:
    return lambda seen: commands.put_secret(
        seen, name, b"secret", nodes or list(seen.members), role=role, epoch=epoch
    )


def _put_user(name: str, uid: int, by_revision: bool) -> Author:
    """Put a user, by the revision that was seen or by none."""
    change = Change((User(name, uid, password_hash=HASH),))
    return lambda seen: commands.users(change, RAFT_PASSWORD, seen.users_revision if by_revision else None)


def _drop_user(name: str) -> Author:
    return lambda _: commands.users(Change(drop=(name,)), RAFT_PASSWORD)


def _damage(author: Author, place: int, mask: int) -> Author:
    def damaged(seen: Ledger) -> bytes:
        data = bytearray(author(seen))
        data[place % len(data)] ^= mask
        return bytes(data)

    return damaged


_members = st.one_of(
    st.builds(lambda node, hw: lambda seen: admit(seen, node, hw), _node, _hardware),
    st.builds(lambda node, hw: lambda _: commands.approve(node, hw or HARDWARE[node]), _node, _hardware),
    st.builds(lambda node: lambda _: commands.approve(node), _node),
    st.builds(lambda node, hw: lambda seen: admit(seen, node, hw), _node, st.none()),
    st.builds(lambda node: lambda _: commands.forget(node), _node),
    st.builds(lambda node: lambda seen: commands.remove(node, seen.voters), _node),
)
_others = st.one_of(
    st.builds(_vote, _node),
    st.builds(lambda nodes: lambda _: commands.set_voters(nodes[:5]), _nodes),
    st.builds(lambda nodes: lambda s: commands.recover(s.generation + 1, nodes[:5]), _nodes),
    st.builds(_share, st.sampled_from(SECRETS), st.just([]) | _nodes, st.none() | _role, _epoch),
    st.builds(_share, st.sampled_from(["gossip", "raft", "admission"]), st.just([]), st.none(), st.just(0)),
    st.builds(_put_user, st.sampled_from(["ann", "ben"]), st.sampled_from([1001, 1002]), st.booleans()),
    st.builds(_drop_user, st.sampled_from(["ann", "ben"])),
    st.builds(lambda n: lambda _: commands.settings(Policy.AUTO, (), n), st.sampled_from([1, 3, 5])),
)
_leases = st.one_of(
    st.builds(lambda role, node: lambda s: commands.lease_grant(s, role, node), _role, _node),
    st.builds(lambda role, node: lambda s: commands.lease_grant(s, role, node), _role, _node),
    st.builds(_renew, _role, st.none(), _node),
    st.builds(_renew, _role, st.none() | _epoch, _node),
    st.builds(_release, _role, _node, _epoch),
)
_choosing = st.builds(lambda role, node: lambda s: commands.servers_choose(s, role, node), _role, _node)
_saying = st.builds(lambda role, node: lambda s: commands.servers_ready(s, role, node), _role, _node)
_servers = st.one_of(
    _choosing,
    _choosing,
    _saying,
    _saying,
    st.builds(lambda role, node: lambda s: commands.servers_drop(s, role, node), _role, _node),
    st.builds(lambda role, node: lambda s: commands.servers_let_go(s, role, node), _role, _node),
    st.builds(lambda role, number: lambda _: commands.servers_reset(role, number), _role, _epoch),
    st.builds(lambda node: lambda _: commands.remove(node), _node),
)
_sound = st.sampled_from([_members, _members, _others, _leases, _servers]).flatmap(lambda kind: kind)
_authors = st.one_of(
    _sound,
    _sound,
    _sound,
    st.builds(_damage, _sound, st.integers(0, 400), st.integers(1, 255)),
    st.builds(lambda data: lambda _: data, st.binary(max_size=40)),
)


def _list(authors: st.SearchStrategy[Author]) -> st.SearchStrategy[list[tuple[Author, int]]]:
    """Return histories: each command with how many ledgers ago its author looked."""
    return st.lists(st.tuples(authors, st.sampled_from([0, 0, 0, 1, 4])), min_size=10, max_size=40)


_histories = st.one_of(
    _list(_authors), _list(_servers), _list(_leases), _list(_members), _list(_others | _leases)
)
_policies = st.sampled_from(sorted(GENESIS, key=lambda policy: policy.value))
History = list[tuple[Author, int]]


def play(policy: Policy, history: History) -> tuple[list[Ledger], list[bytes]]:
    """Return the ledgers that a history gives, the first one included, and its commands."""
    ledgers, log = [begin(GENESIS[policy])], []
    for author, ago in history:
        command = author(ledgers[max(0, len(ledgers) - 1 - ago)])
        ledger, result = reduce(ledgers[-1], command, GENESIS[policy])
        assert result.revision == ledger.revision == ledgers[-1].revision + result.applied
        assert result.applied or ledger is ledgers[-1]
        if result.applied:
            check_basis(ledgers[-1], wire.unpack(command))
        ledgers.append(ledger)
        log.append(command)
    return ledgers, log


def check_basis(old: Ledger, command: dict[str, Any]) -> None:
    """Check that an applied command was made for the ledger that it met."""
    lease = old.leases.get(command.get("role") or "", Lease("", None, 0, 0))
    if command["c"] == "lease_grant":
        assert (lease.epoch, lease.renewal) == (command["epoch"], command["renewal"])
    fenced = command["c"] == "put_secret" and command["role"]
    if fenced or command["c"] in ("lease_renew", "lease_release"):
        assert lease.epoch == command["epoch"]
        assert lease.holder in old.members
    if command["c"] == "users" and command["base"] is not None:
        assert old.users_revision == command["base"]
    if command["c"] == "admit":
        for box in command["secrets"]:
            assert box["version"] == old.secrets[box["name"]].version


def check_state(ledger: Ledger) -> None:
    assert ledger.members
    assert 1 <= len(ledger.voters) <= 5
    assert set(ledger.voters) <= ledger.members.keys()
    assert list(ledger.voters) == sorted(set(ledger.voters))
    assert not ledger.members.keys() & ledger.removed.keys()
    assert len({member.ipv4 for member in ledger.members.values()}) == len(ledger.members)
    assert not {entry.partition(".")[0] for entry in ledger.approved} & ledger.removed.keys()
    assert len({account.user.uid for account in ledger.users.values()}) == len(ledger.users)
    for secret in ledger.secrets.values():
        assert secret.sealed.keys() <= ledger.members.keys()
    for lease in ledger.leases.values():
        assert lease.holder is None or lease.holder in ledger.members or lease.holder in ledger.removed
    for servers in ledger.servers.values():
        nodes = [server.node_id for server in servers.nodes]
        assert len(nodes) == len(set(nodes)) <= MAX_SERVERS
        assert set(nodes) <= ledger.members.keys()
        assert not set(nodes) & set(servers.gone)
        assert sum(not server.ready for server in servers.nodes) <= 1
        assert servers.first is not None or not (nodes or servers.begun)
        assert servers.begun or not servers.ready
        if not servers.begun:
            assert nodes in ([], [servers.first]), "nobody joins before the first one runs"


def check_step(old: Ledger, new: Ledger) -> None:
    assert old.removed.items() <= new.removed.items()
    assert new.generation - old.generation in (0, 1)
    assert new.users_revision >= old.users_revision
    assert new.users == old.users or new.users_revision == new.revision
    if new.generation == old.generation:
        assert len(set(old.voters) ^ set(new.voters)) <= 1
    for node_id in old.members.keys() & new.members.keys():
        assert old.members[node_id].ipv4 == new.members[node_id].ipv4
    for name, secret in old.secrets.items():
        # The gossip key catches up with all removals at once.
        following = secret.version + 1, 1 + len(old.removed) if name == "gossip" else 0
        assert new.secrets[name].version in (secret.version, max(following))
        assert secret.role in (None, new.secrets[name].role)
    for role, lease in old.leases.items():
        after = new.leases[role]
        if after.epoch == lease.epoch:
            # One epoch has one holder, who may only give it up.
            assert after.holder in (lease.holder, None)
            assert after.renewal - lease.renewal in (0, 1)
            assert after == lease or after.renewal > lease.renewal
        else:
            assert after.epoch == lease.epoch + 1
            assert after.holder in old.members
    for role, servers in old.servers.items():
        later = new.servers[role]
        if later.generation == servers.generation:
            assert servers.first in (None, later.first), "nobody begins it a second time"
            assert later.begun >= servers.begun
            if servers.ready and not later.ready:
                assert set(servers.ready) <= new.removed.keys(), "the last of the data is never dropped"
        else:
            assert later.generation == servers.generation + 1
            assert not servers.nodes


@settings(max_examples=100, deadline=None)
@given(_policies, _histories)
def test_no_history_breaks_what_always_holds(policy: Policy, history: History) -> None:
    ledgers, _ = play(policy, history)
    for ledger in ledgers:
        check_state(ledger)
    for old, new in pairwise(ledgers):
        check_step(old, new)
    check_ledger(ledgers[-1], GENESIS[policy], ledgers[0].genesis)


@settings(max_examples=30, deadline=None)
@given(_policies, _histories, st.integers(0, 25))
def test_replicas_agree_to_the_byte_also_from_a_snapshot(policy: Policy, history: History, cut: int) -> None:
    ledgers, log = play(policy, history)
    replica = begin(GENESIS[policy])
    for number, command in enumerate(log):
        if number == cut:
            replica = decode_ledger(encode_ledger(replica), "SNAPSHOT")
        replica, _ = reduce(replica, command, GENESIS[policy])
    assert replica == ledgers[-1]
    assert encode_ledger(replica) == encode_ledger(ledgers[-1])


@settings(max_examples=30, deadline=None)
@given(_policies, _histories, st.integers(min_value=0), st.integers(1, 255))
def test_each_damaged_byte_of_a_ledger_is_noticed(
    policy: Policy, history: History, place: int, mask: int
) -> None:
    data = bytearray(encode_ledger(play(policy, history)[0][-1]))
    data[place % len(data)] ^= mask
    try:
        decode_ledger(bytes(data), "FILE")
    except ClusterError as error:
        assert "FILE is damaged" in error.message
    else:
        raise AssertionError("the damage was not noticed")


@settings(deadline=None)
@given(st.data())
def test_a_command_with_any_value_in_any_field_is_applied_or_refused(data: st.DataObject) -> None:
    genesis = GENESIS[Policy.AUTO]
    ledger = begin(genesis)
    body = wire.unpack(data.draw(_sound)(ledger))
    name = data.draw(st.sampled_from(sorted(body)))
    value: Any = data.draw(wire_values)
    changed, result = reduce(ledger, wire.pack({**body, name: value}), genesis)
    check_state(changed)
    assert result.reason


@settings(deadline=None)
@given(st.data())
def test_a_ledger_file_with_any_value_in_any_field_is_read_or_refused(data: st.DataObject) -> None:
    body = wire.unpack(encode_ledger(begin(GENESIS[Policy.AUTO]))[32:])
    name = data.draw(st.sampled_from(sorted(body)))
    packed = wire.pack({**body, name: data.draw(wire_values)})
    whole = wire.digest("cluster/ledger", packed) + packed
    try:
        ledger = decode_ledger(whole, "FILE")
    except ClusterError:
        return
    assert encode_ledger(ledger) == whole


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_garbage_is_no_ledger(data: bytes) -> None:
    for whole in (data, wire.digest("cluster/ledger", data) + data):
        try:
            decode_ledger(whole, "FILE")
        except ClusterError:
            continue
        raise AssertionError("garbage was read as a ledger")
