# SPDX-License-Identifier: Apache-2.0
"""What the Raft leader, and the holder of the role `coordinator`, see to in the ledger. Pure.

Each duty follows from the ledger alone and is done when the ledger says so, so whoever comes next goes on
where another stopped. Commands name the state that they expect, so a duty that two do at once is done once.
"""

from dataclasses import dataclass

from agent.cluster import Ledger
from agent.membership.secrets import ADMISSION, GOSSIP

COORDINATOR = "coordinator"
"""The role of kind `leader` that sees to the cluster's own affairs."""


@dataclass(frozen=True)
class RotateGossip:
    """Give every member a new gossip key: a removed node knows the present one."""


@dataclass(frozen=True)
class SealAdmission:
    """Give every voter the admission seed."""


Duty = RotateGossip | SealAdmission


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


def is_gossip_key_stale(ledger: Ledger) -> bool:
    """Tell whether a node was removed that knows the present gossip key: each removal takes a new one."""
    return ledger.secrets[GOSSIP].version < 1 + len(ledger.removed)
