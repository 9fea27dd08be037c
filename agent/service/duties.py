# SPDX-License-Identifier: Apache-2.0
"""What the Raft leader, and the holder of the role `coordinator`, see to in the ledger. Pure.

Each duty follows from the ledger alone and is done when the ledger says so, so whoever comes next goes on
where another stopped. Commands name the state that they expect, so a duty that two do at once is done once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.cluster import Ledger
from agent.membership.secrets import ADMISSION, GOSSIP
from agent.roles.candidates import COORDINATOR
from agent.roles.role import Kind, Roles, SharedSecret


@dataclass(frozen=True)
class RotateGossip:
    """Give every member a new gossip key: a removed node knows the present one."""


@dataclass(frozen=True)
class SealAdmission:
    """Give every voter the admission seed."""


@dataclass(frozen=True)
class GiveSecret:
    """Give every member a secret of a role that this node holds."""

    role: str
    secret: SharedSecret
    anew: bool  # other random bytes: there are none yet, or a node was removed that knows them


Duty = RotateGossip | SealAdmission | GiveSecret


def list_duties(me: str, ledger: Ledger, *, leads: bool) -> tuple[Duty, ...]:
    """Return what the node `me` has to see to; `leads` tells whether it is the leader of Raft."""
    duties: list[Duty] = []
    lease = ledger.leases.get(COORDINATOR)
    holder = lease.holder if lease and lease.holder in ledger.members else None
    if (holder == me or (holder is None and leads)) and is_gossip_key_stale(ledger):
        duties.append(RotateGossip())
    if leads and set(ledger.voters) - ledger.secrets[ADMISSION].sealed.keys():
        duties.append(SealAdmission())
    return tuple(duties)


def list_secrets(
    me: str, ledger: Ledger, roles: Roles, removals: Mapping[str, int]
) -> tuple[GiveSecret, ...]:
    """Return the secrets to give that belong to the roles which `me` holds.

    `removals`: of each secret that this node could open, how many nodes had been removed when it was made.
    """
    found = []
    for role in roles.values():
        lease = ledger.leases.get(role.name)
        if role.kind is Kind.EVERY or lease is None or lease.holder != me:
            continue
        for each in role.secrets:
            if each.name.partition("/")[0] != role.name:
                continue
            known = ledger.secrets.get(each.name)
            made = removals.get(each.name)
            anew = made is None or (each.renewed and made < len(ledger.removed))
            if anew or known is None or ledger.members.keys() - known.sealed.keys():
                found.append(GiveSecret(role.name, each, anew))
    return tuple(found)


def is_gossip_key_stale(ledger: Ledger) -> bool:
    """Tell whether a node was removed that knows the present gossip key: each removal takes a new one."""
    return ledger.secrets[GOSSIP].version < 1 + len(ledger.removed)
