# SPDX-License-Identifier: Apache-2.0
"""The commands of the ledger about role leases: lease_grant, lease_renew, lease_release. Pure.

A lease says who of all members runs a role. When it may be given away is for the Raft leader to decide
(agent/election/): not before its holder has stopped by its own clock. So here is no time but a
compare-and-set: a grant names the epoch and the renewal that its author saw, and any renewal, release or
grant in between makes it void. Each grant begins a new epoch, so that what a late holder does under an old
one can be refused.

The lease of a removed member keeps its name: nobody knows whether it has stopped, so it has to run out.
"""

import re
from dataclasses import replace

from agent import wire
from agent.cluster import Genesis, Lease, Ledger
from agent.errors import ClusterError

MAX_ROLES = 256
LAST = 2**62
_ROLE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def holder_of(ledger: Ledger, role: str) -> str | None:
    """Return the member that holds the lease of `role`; None when nobody does, or only who was removed."""
    lease = ledger.leases.get(role)
    return lease.holder if lease and lease.holder in ledger.members else None


def read_role(fields: wire.Fields) -> str:
    """Return the name of a role in the field `role`."""
    role = fields.text("role", max=63)
    if not _ROLE.fullmatch(role):
        raise ClusterError("a role has 1 to 63 characters a-z, 0-9 and -")
    return role


def grant(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Give the lease to a member, in a new epoch."""
    role, holder = read_role(fields), fields.node("holder")
    epoch, renewal = fields.integer("epoch", 0, LAST), fields.integer("renewal", 0, LAST)
    fields.done()
    lease = ledger.leases.get(role) or Lease(role, None, 0, 0)
    if role not in ledger.leases and len(ledger.leases) >= MAX_ROLES:
        raise ClusterError(f"there are {MAX_ROLES} roles with a lease, and no more can be")
    if holder not in ledger.members:
        raise ClusterError(f"{holder} is no member, so it cannot hold a lease")
    if (epoch, renewal) != (lease.epoch, lease.renewal):
        raise ClusterError(
            f"the lease of {role} is at epoch {lease.epoch}, renewal {lease.renewal} by now, "
            f"not {epoch}, {renewal}"
        )
    return _with(ledger, Lease(role, holder, epoch + 1, 0)), f"{holder} holds {role} in epoch {epoch + 1}"


def renew(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Prolong the lease of its holder."""
    lease = _read_held(ledger, fields)
    return _with(ledger, replace(lease, renewal=lease.renewal + 1)), f"{lease.holder} renewed {lease.role}"


def release(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Give the lease back: its holder says that it has stopped, so anybody may have it at once."""
    lease = _read_held(ledger, fields)
    return (
        _with(ledger, replace(lease, holder=None, renewal=lease.renewal + 1)),
        f"{lease.holder} released {lease.role}",
    )


def _read_held(ledger: Ledger, fields: wire.Fields) -> Lease:
    role, holder, epoch = read_role(fields), fields.node("holder"), fields.integer("epoch", 1, LAST)
    fields.done()
    lease = ledger.leases.get(role)
    if lease is None or (lease.holder, lease.epoch) != (holder, epoch):
        raise ClusterError(f"{holder} does not hold {role} in epoch {epoch}")
    if holder not in ledger.members:
        raise ClusterError(f"{holder} was removed: its lease of {role} runs out")
    return lease


def _with(ledger: Ledger, lease: Lease) -> Ledger:
    return replace(ledger, leases={**ledger.leases, lease.role: lease})
