# SPDX-License-Identifier: Apache-2.0
"""The ledger: what the commands of the Raft log add up to. Pure, total and deterministic.

`begin` gives the ledger of a genesis, `reduce` the one after a command (agent/membership/commands.py). A
command that is malformed, or not allowed as things stand, changes nothing and says why; so replicas that have
seen the same commands hold the same ledger, to the byte (ledger_file.py).

What always holds: a removed node is no member ever again; voters are members; there is at least one voter; no
two nodes hold a lease, and its epoch only grows; in one generation of a role of kind servers no two nodes
begin it; the revision counts the commands that were applied.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent import wire
from agent.cluster import Genesis, Ledger, Member, Secret
from agent.errors import ClusterError
from agent.formation.genesis import genesis_hash
from agent.membership import (
    ledger_leases,
    ledger_members,
    ledger_secrets,
    ledger_servers,
    ledger_users,
    ledger_voters,
)
from agent.membership.addresses import assign_ipv4
from agent.membership.secrets import ADMISSION, GOSSIP, RAFT

MAX_COMMAND = 2 << 20
"""Bytes of a command: a key in sealed boxes for as many members as there can be."""
MAX_REVISION = 2**62

Change = Callable[[Ledger, wire.Fields, Genesis], tuple[Ledger, str]]
"""Returns the ledger after a command, without its revision, and what was done; ClusterError: not allowed."""


@dataclass(frozen=True)
class Result:
    """What became of a command, in words for a person."""

    applied: bool
    reason: str
    revision: int  # of the ledger afterwards


_CHANGES: Mapping[str, Change] = {
    "admit": ledger_members.admit,
    "approve": ledger_members.approve,
    "forget": ledger_members.forget,
    "remove": ledger_members.remove,
    "settings": ledger_members.settings,
    "set_voters": ledger_voters.set_voters,
    "recover": ledger_voters.recover,
    "lease_grant": ledger_leases.grant,
    "lease_renew": ledger_leases.renew,
    "lease_release": ledger_leases.release,
    "put_secret": ledger_secrets.put_secret,
    "servers_choose": ledger_servers.choose,
    "servers_drop": ledger_servers.drop,
    "servers_ready": ledger_servers.ready,
    "servers_let_go": ledger_servers.let_go,
    "servers_reset": ledger_servers.reset,
    "users": ledger_users.change_users,
}


def begin(genesis: Genesis) -> Ledger:
    """Return the ledger with which the cluster of this genesis begins.

    Its members are the founders; voters are the largest odd number of them, at most the wanted one. The Raft
    password and the gossip key stand there without a box, as founders have them by the admission seed and by
    the credential.
    """
    addresses = assign_ipv4(genesis.ipv4_range, genesis.founders)
    founders = zip(genesis.founders, genesis.hardware, genesis.sealed, strict=True)
    members, boxes = {}, {}
    for node_id, hardware, box in founders:
        members[node_id] = Member(node_id, hardware, addresses[node_id], certificate=None, number=0)
        boxes[node_id] = box
    voters = genesis.founders[: ledger_voters.largest_odd(min(len(members), genesis.voters))]
    sealed = {node_id: boxes[node_id] for node_id in voters}
    return Ledger(
        genesis=genesis_hash(genesis),
        members=members,
        voters=voters,
        wanted_voters=genesis.voters,
        policy=genesis.policy,
        secrets={
            ADMISSION: Secret(ADMISSION, 1, sealed),
            GOSSIP: Secret(GOSSIP, 1, {}),
            RAFT: Secret(RAFT, 1, {}),
        },
    )


def reduce(ledger: Ledger, command: bytes, genesis: Genesis) -> tuple[Ledger, Result]:
    """Return the ledger after `command`, and what became of that. Never raises; `genesis` is the ledger's."""
    try:
        fields = wire.Fields(wire.unpack(command, MAX_COMMAND), "command")
        name = fields.choice("c", tuple(_CHANGES))
        if ledger.revision >= MAX_REVISION:
            raise ClusterError("the ledger is at its last revision")
        changed, done = _CHANGES[name](ledger, fields, genesis)
    except ClusterError as error:
        return ledger, Result(False, error.message, ledger.revision)
    revision = ledger.revision + 1
    return replace(changed, revision=revision), Result(True, done, revision)
