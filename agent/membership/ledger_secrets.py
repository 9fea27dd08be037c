# SPDX-License-Identifier: Apache-2.0
"""The command of the ledger about secrets that members share: put_secret. Pure.

The ledger holds sealed boxes only. A secret of a role is written under the epoch of the role's lease, by
whoever holds it; from then on nobody writes it otherwise. So a holder that was paused and wakes up late
cannot put an old secret over a new one.
"""

import re
from dataclasses import replace

from agent import wire
from agent.cluster import Genesis, Ledger, Secret
from agent.errors import ClusterError
from agent.membership.ledger_leases import LAST, holder_of, read_role
from agent.membership.ledger_members import LAST_VERSION, MAX_MEMBERS
from agent.membership.secrets import ADMISSION, GOSSIP, MAX_SECRET, RAFT, SEALED_OVERHEAD

MAX_SECRETS = 256
_NAME = re.compile(r"[a-z0-9][a-z0-9./-]{0,62}")


def next_version(ledger: Ledger, name: str) -> int:
    """Return the version that the secret has to have next.

    That of the gossip key counts the removals: after several at once, one new key does for all of them.
    """
    old = ledger.secrets.get(name)
    following = (old.version if old else 0) + 1
    return max(following, 1 + len(ledger.removed)) if name == GOSSIP else following


def put_secret(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Write the next version of a secret, sealed for those who need it."""
    name, version = fields.text("name", max=63), fields.integer("version", 1, LAST_VERSION)
    role = None if fields.nil("role") else read_role(fields)
    epoch = fields.integer("epoch", 0, LAST)
    sealed = {}
    for entry in fields.maps("sealed", most=MAX_MEMBERS):
        node_id = entry.node("node")
        if node_id in sealed:
            raise ClusterError(f"a box for {node_id} is there twice")
        sealed[node_id] = entry.bytes("box", max=MAX_SECRET + SEALED_OVERHEAD)
        entry.done()
    fields.done()
    if not _NAME.fullmatch(name):
        raise ClusterError("a secret has a name of 1 to 63 characters a-z, 0-9, -, . and /")
    old = ledger.secrets.get(name)
    if old is None and len(ledger.secrets) >= MAX_SECRETS:
        raise ClusterError(f"there are {MAX_SECRETS} secrets, and no more can be")
    if version != next_version(ledger, name):
        raise ClusterError(f"the secret {name} has version {old.version if old else 0} by now")
    _check_recipients(ledger, name, set(sealed))
    owner = _check_writer(ledger, name, old, role, epoch)
    secrets = {**ledger.secrets, name: Secret(name, version, sealed, owner)}
    return replace(ledger, secrets=secrets), f"the secret {name} has version {version}"


def _check_recipients(ledger: Ledger, name: str, recipients: set[str]) -> None:
    members = ledger.members.keys()
    if not recipients or recipients - members:
        raise ClusterError(f"the secret {name} is sealed for nobody, or for who is no member")
    # Who was admitted since the boxes were made would be left behind with an old key.
    if name in (GOSSIP, RAFT) and members - recipients:
        raise ClusterError(f"the secret {name} must be sealed for every member")
    if name == ADMISSION and set(ledger.voters) - recipients:
        raise ClusterError(f"the secret {name} must be sealed for every voter")


def _check_writer(ledger: Ledger, name: str, old: Secret | None, role: str | None, epoch: int) -> str | None:
    """Return the role that owns the secret from now on; ClusterError when the writer may not write it."""
    if role is None:
        if old and old.role:
            raise ClusterError(f"the secret {name} belongs to the role {old.role}")
        return None
    shared = name in (ADMISSION, GOSSIP, RAFT)
    if old and not shared and old.role != role:
        raise ClusterError(
            f"the secret {name} belongs to {f'the role {old.role}' if old.role else 'no role'}"
        )
    lease = ledger.leases.get(role)
    if lease is None or holder_of(ledger, role) is None or lease.epoch != epoch:
        raise ClusterError(f"the lease of {role} is not in epoch {epoch} any more")
    # What the whole cluster needs is no role's own: whoever coordinates it next may be chosen otherwise.
    return None if shared else role
