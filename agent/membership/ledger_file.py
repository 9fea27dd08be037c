# SPDX-License-Identifier: Apache-2.0
"""The ledger as bytes: in ledger.msgpack, and in Raft's snapshots. Pure.

The format is the SHA-256 of "cluster/ledger" NUL body, which tells damage, and that body of agent/wire.py.
One ledger has one encoding. There is no secret in it that is not in a sealed or a closed box. `users` is
missing as long as nobody set any.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from agent import wire
from agent.cluster import Certificate, Genesis, Lease, Ledger, Member, Policy, Secret, Server, Servers
from agent.errors import ClusterError
from agent.membership.certificate import verify_certificate
from agent.membership.ledger_leases import MAX_ROLES
from agent.membership.ledger_members import MAX_APPROVED, MAX_MEMBERS, MAX_REMOVED
from agent.membership.ledger_secrets import MAX_SECRETS
from agent.membership.ledger_servers import MAX_SERVERS
from agent.membership.ledger_users import account_fields, read_accounts
from agent.membership.ledger_voters import MAX_VOTERS
from agent.membership.rules import MAX_ALLOWED, VOTERS
from agent.membership.secrets import MAX_SECRET, SEALED_OVERHEAD
from agent.node_ids import public_key_of
from agent.users.user import check_together

MAX_BYTES = 64 << 20
_CONTEXT = "cluster/ledger"
_HASH = 32
_LAST = 2**63 - 1
_HINT = (
    "it was left as it is: restore it from a backup; or, where other voters are left, remove the folder that "
    "it is in, and the node joins again"
)
T = TypeVar("T")


def encode_ledger(ledger: Ledger) -> bytes:
    """Return the one encoding of a ledger."""
    body = wire.pack(
        {
            "genesis": bytes.fromhex(ledger.genesis),
            "revision": ledger.revision,
            "generation": ledger.generation,
            "members": [_member(ledger.members[node_id]) for node_id in sorted(ledger.members)],
            "voters": [public_key_of(node_id) for node_id in ledger.voters],
            "wanted_voters": ledger.wanted_voters,
            "policy": ledger.policy.value,
            "allowlist": ledger.allowlist,
            "settings": ledger.settings,
            "approved": sorted(ledger.approved),
            "removed": [
                {"node": public_key_of(node_id), "revision": ledger.removed[node_id]}
                for node_id in sorted(ledger.removed)
            ],
            "leases": [_lease(ledger.leases[role]) for role in sorted(ledger.leases)],
            "secrets": [_secret(ledger.secrets[name]) for name in sorted(ledger.secrets)],
            "servers": [_servers(ledger.servers[role]) for role in sorted(ledger.servers)],
            **_users(ledger),
        }
    )
    return wire.digest(_CONTEXT, body) + body


def decode_ledger(data: bytes, where: str) -> Ledger:
    """Return the ledger in `data`, the content of the file named `where`; ClusterError when it is damaged."""
    body = data[_HASH:]
    if wire.digest(_CONTEXT, body) != data[:_HASH]:
        raise ClusterError(f"{where} is damaged: its content is not what it was", hint=_HINT)
    try:
        fields = wire.Fields(wire.unpack(body, MAX_BYTES), where)
        genesis = fields.hexadecimal("genesis", exactly=_HASH)
        ledger = Ledger(
            genesis=genesis,
            revision=fields.integer("revision", 0, _LAST),
            generation=fields.integer("generation", 0, _LAST),
            members=_read_map(
                fields, "members", MAX_MEMBERS, lambda each: _read_member(each, genesis), lambda m: m.node_id
            ),
            voters=fields.nodes("voters", most=MAX_VOTERS),
            wanted_voters=fields.integer("wanted_voters", min(VOTERS), max(VOTERS)),
            policy=Policy(fields.choice("policy", tuple(policy.value for policy in Policy))),
            allowlist=fields.texts("allowlist", most=MAX_ALLOWED, max=67),
            settings=fields.integer("settings", 0, _LAST),
            approved=frozenset(fields.texts("approved", most=MAX_APPROVED, max=57)),
            removed=dict(
                _read_map(fields, "removed", MAX_REMOVED, _read_removed, lambda pair: pair[0]).values()
            ),
            leases=_read_map(fields, "leases", MAX_ROLES, _read_lease, lambda lease: lease.role),
            secrets=_read_map(fields, "secrets", MAX_SECRETS, _read_secret, lambda secret: secret.name),
            servers=_read_map(fields, "servers", MAX_ROLES, _read_servers, lambda servers: servers.role),
        )
        ledger = _read_users(fields, ledger)
        fields.done()
    except ClusterError as error:
        raise ClusterError(f"{where} is no ledger: {error.message}", hint=_HINT) from None
    if encode_ledger(ledger) != data:
        raise ClusterError(f"{where} is no ledger: it is not in its one encoding", hint=_HINT)
    return ledger


def check_ledger(ledger: Ledger, genesis: Genesis, genesis_hash: str) -> None:
    """Raise ClusterError unless the ledger can be one of this genesis, each member with its certificate.

    For a ledger that comes from a disk or from another node, and not by `reduce`.
    """
    if ledger.genesis != genesis_hash:
        raise ClusterError("the ledger is one of another cluster")
    if not ledger.voters or set(ledger.voters) - ledger.members.keys():
        raise ClusterError("the ledger has no voters, or voters that are no members")
    if ledger.members.keys() & ledger.removed.keys():
        raise ClusterError("the ledger has members that were removed")
    addresses = {member.ipv4 for member in ledger.members.values()}
    if len(addresses) != len(ledger.members):
        raise ClusterError("the ledger has members with one address")
    errors: list[str] = []
    check_together((account.user for account in ledger.users.values()), errors)
    if errors:
        raise ClusterError(f"the ledger has users that do not go together: {errors[0]}")
    founders = dict(zip(genesis.founders, genesis.hardware, strict=True))
    for node_id, member in ledger.members.items():
        if member.certificate is not None:
            verify_certificate(member.certificate, genesis_hash, genesis.admission_key)
        elif founders.get(node_id) != member.hardware:
            raise ClusterError(f"the ledger has a member without a certificate: {node_id}")


def differs_durably(old: Ledger, new: Ledger) -> bool:
    """Tell whether a reboot needs more of `new` than `old` has: all but leases, which do not outlive one."""
    return replace(old, leases={}, revision=0) != replace(new, leases={}, revision=0)


def _member(member: Member) -> dict[str, Any]:
    return {
        "node": public_key_of(member.node_id),
        "hardware": bytes.fromhex(member.hardware),
        "ipv4": member.ipv4,
        "signature": member.certificate.signature if member.certificate else None,
        "number": member.number,
    }


def _lease(lease: Lease) -> dict[str, Any]:
    holder = public_key_of(lease.holder) if lease.holder else None
    return {"role": lease.role, "holder": holder, "epoch": lease.epoch, "renewal": lease.renewal}


def _secret(secret: Secret) -> dict[str, Any]:
    boxes = [
        {"node": public_key_of(node_id), "box": secret.sealed[node_id]} for node_id in sorted(secret.sealed)
    ]
    return {"name": secret.name, "version": secret.version, "role": secret.role, "sealed": boxes}


def _servers(servers: Servers) -> dict[str, Any]:
    return {
        "role": servers.role,
        "generation": servers.generation,
        "first": public_key_of(servers.first) if servers.first else None,
        "begun": servers.begun,
        "nodes": [
            {"node": public_key_of(each.node_id), "since": each.since, "ready": each.ready}
            for each in servers.nodes
        ],
        "gone": [public_key_of(node_id) for node_id in servers.gone],
    }


def _users(ledger: Ledger) -> dict[str, Any]:
    if not ledger.users_revision:
        return {}
    accounts = [account_fields(ledger.users[name]) for name in sorted(ledger.users)]
    return {"users": {"revision": ledger.users_revision, "accounts": accounts}}


def _read_users(fields: wire.Fields, ledger: Ledger) -> Ledger:
    if not fields.has("users"):
        return ledger
    inner = fields.map("users")
    revision, users = inner.integer("revision", 1, _LAST), read_accounts(inner, "accounts")
    inner.done()
    return replace(ledger, users=users, users_revision=revision)


def _read_member(fields: wire.Fields, genesis: str) -> Member:
    node_id, hardware = fields.node("node"), fields.hexadecimal("hardware", exactly=6)
    certificate = None
    if not fields.nil("signature"):
        signature = fields.bytes("signature", exactly=wire.SIGNATURE_BYTES)
        certificate = Certificate(genesis, node_id, hardware, signature)
    return Member(
        node_id, hardware, fields.text("ipv4", max=15), certificate, fields.integer("number", 0, _LAST)
    )


def _read_removed(fields: wire.Fields) -> tuple[str, int]:
    return fields.node("node"), fields.integer("revision", 0, _LAST)


def _read_lease(fields: wire.Fields) -> Lease:
    return Lease(
        role=fields.text("role", max=63),
        holder=None if fields.nil("holder") else fields.node("holder"),
        epoch=fields.integer("epoch", 0, _LAST),
        renewal=fields.integer("renewal", 0, _LAST),
    )


def _read_secret(fields: wire.Fields) -> Secret:
    def read_box(each: wire.Fields) -> tuple[str, bytes]:
        return each.node("node"), each.bytes("box", max=MAX_SECRET + SEALED_OVERHEAD)

    return Secret(
        name=fields.text("name", max=63),
        version=fields.integer("version", 1, _LAST),
        sealed=dict(_read_map(fields, "sealed", MAX_MEMBERS, read_box, lambda pair: pair[0]).values()),
        role=None if fields.nil("role") else fields.text("role", max=63),
    )


def _read_servers(fields: wire.Fields) -> Servers:
    def read_server(each: wire.Fields) -> Server:
        return Server(each.node("node"), each.integer("since", 0, _LAST), each.boolean("ready"))

    return Servers(
        role=fields.text("role", max=63),
        generation=fields.integer("generation", 1, _LAST),
        first=None if fields.nil("first") else fields.node("first"),
        begun=fields.boolean("begun"),
        nodes=tuple(_read_map(fields, "nodes", MAX_SERVERS, read_server, lambda s: s.node_id).values()),
        gone=fields.nodes("gone", most=MAX_REMOVED),
    )


def _read_map(
    fields: wire.Fields, name: str, most: int, read: Callable[[wire.Fields], T], key: Callable[[T], str]
) -> dict[str, T]:
    found: dict[str, T] = {}
    for each in fields.maps(name, most=most):
        value = read(each)
        each.done()
        found[key(value)] = value
    return found
