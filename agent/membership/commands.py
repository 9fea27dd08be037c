# SPDX-License-Identifier: Apache-2.0
"""The commands of the ledger, as bytes for the Raft log. Pure but for the randomness of sealed boxes.

A command is a body of agent/wire.py whose field `c` names it. What each does, and when it is refused, stands
with its change in ledger_members.py, ledger_voters.py, ledger_leases.py, ledger_secrets.py,
ledger_servers.py and ledger_users.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from agent import wire
from agent.cluster import Account, Certificate, Ledger, Policy
from agent.errors import ClusterError
from agent.membership.ledger import MAX_COMMAND
from agent.membership.ledger_secrets import next_version
from agent.membership.ledger_servers import servers_of
from agent.membership.ledger_users import account_fields
from agent.membership.secrets import GOSSIP, RAFT, seal_for
from agent.node_ids import public_key_of
from agent.users.change import Change
from agent.users.password import close_hash


def admit(certificate: Certificate, ledger: Ledger, *, gossip_key: bytes, raft_password: str) -> bytes:
    """Make the node of the certificate a member; the secrets are those of the versions that `ledger` has."""
    node_id = certificate.node_id
    secrets = {GOSSIP: gossip_key, RAFT: raft_password.encode()}
    boxes = [
        {"name": name, "version": ledger.secrets[name].version, "box": seal_for(secret, [node_id])[node_id]}
        for name, secret in secrets.items()
    ]
    return _pack(
        "admit",
        node=public_key_of(node_id),
        hardware=bytes.fromhex(certificate.hardware),
        signature=certificate.signature,
        secrets=boxes,
    )


def approve(node_id: str, hardware: str | None = None) -> bytes:
    """Let a node in, on this hardware (12 hexadecimal digits) or any; a member must have it named."""
    return _pack(
        "approve", node=public_key_of(node_id), hardware=bytes.fromhex(hardware) if hardware else None
    )


def forget(node_id: str) -> bytes:
    """Take back an approval."""
    return _pack("forget", node=public_key_of(node_id))


def remove(node_id: str, voters: Iterable[str] | None = None) -> bytes:
    """Remove a node for good; unless others than `voters` have a vote by then (None: whoever has)."""
    return _pack("remove", node=public_key_of(node_id), voters=None if voters is None else _keys(voters))


def settings(policy: Policy, allowlist: Sequence[str], voters: int) -> bytes:
    """Change who may be a member, and how many voters are wanted (1, 3 or 5)."""
    return _pack("settings", policy=policy.value, allowlist=list(allowlist), voters=voters)


def set_voters(voters: Iterable[str]) -> bytes:
    """Change the voters by one."""
    return _pack("set_voters", voters=_keys(voters))


def recover(generation: int, voters: Iterable[str]) -> bytes:
    """Begin generation `generation`, the next one, with these voters."""
    return _pack("recover", generation=generation, voters=_keys(voters))


def lease_grant(ledger: Ledger, role: str, holder: str) -> bytes:
    """Give the lease of `role` to `holder`, unless it has changed since `ledger`."""
    lease = ledger.leases.get(role)
    epoch, renewal = (lease.epoch, lease.renewal) if lease else (0, 0)
    return _pack("lease_grant", role=role, holder=public_key_of(holder), epoch=epoch, renewal=renewal)


def lease_renew(role: str, holder: str, epoch: int) -> bytes:
    """Prolong the lease that `holder` has in `epoch`."""
    return _pack("lease_renew", role=role, holder=public_key_of(holder), epoch=epoch)


def lease_release(role: str, holder: str, epoch: int) -> bytes:
    """Give back the lease that `holder` has in `epoch`; it has stopped what it does under it."""
    return _pack("lease_release", role=role, holder=public_key_of(holder), epoch=epoch)


def servers_choose(ledger: Ledger, role: str, node_id: str) -> bytes:
    """Make a member a server of `role`, unless these have changed since `ledger`."""
    return _pack("servers_choose", **_seen(ledger, role, node_id))


def servers_drop(ledger: Ledger, role: str, node_id: str) -> bytes:
    """Make a server of `role` an ordinary member again, unless these have changed since `ledger`."""
    return _pack("servers_drop", **_seen(ledger, role, node_id))


def servers_ready(ledger: Ledger, role: str, node_id: str) -> bytes:
    """Say that a server of `role` runs it."""
    return _pack("servers_ready", **_seen(ledger, role, node_id))


def servers_let_go(ledger: Ledger, role: str, node_id: str) -> bytes:
    """Say that `role` has no trace any more of who was a server or a member."""
    return _pack("servers_let_go", **_seen(ledger, role, node_id))


def servers_reset(role: str, generation: int) -> bytes:
    """Have a role of kind servers, which is in `generation`, begin anew."""
    return _pack("servers_reset", role=role, generation=generation)


def put_secret(
    ledger: Ledger,
    name: str,
    secret: bytes,
    node_ids: Iterable[str],
    *,
    role: str | None = None,
    epoch: int = 0,
) -> bytes:
    """Write the next version of a secret for these members, under the lease that the writer has of `role`.

    Refused when the secret, or for `gossip` and `raft` the members, have changed since `ledger`.
    """
    boxes = seal_for(secret, set(node_ids))
    return _pack(
        "put_secret",
        name=name,
        version=next_version(ledger, name),
        role=role,
        epoch=epoch,
        sealed=[{"node": public_key_of(node_id), "box": box} for node_id, box in boxes.items()],
    )


def users(change: Change, raft_password: str, base: int | None = None) -> bytes:
    """Put and drop users; refused when their revision is not `base` any more, where that is not None."""
    accounts = [
        Account(
            replace(user, password_hash=None),
            close_hash(raft_password, user.name, user.password_hash) if user.password_hash else None,
        )
        for user in change.put
    ]
    return _pack("users", base=base, put=[account_fields(each) for each in accounts], drop=list(change.drop))


def _pack(command_name: str, /, **fields: Any) -> bytes:  # noqa: ANN401  whatever a body may hold
    command = wire.pack({"c": command_name, **fields})
    if len(command) > MAX_COMMAND:
        raise ClusterError(
            f"the command {command_name} has {len(command)} bytes; {MAX_COMMAND} at most may be"
        )
    return command


def _seen(ledger: Ledger, role: str, node_id: str) -> dict[str, Any]:
    servers = servers_of(ledger, role)
    seen = [public_key_of(server.node_id) for server in servers.nodes]
    return {"role": role, "node": public_key_of(node_id), "generation": servers.generation, "seen": seen}


def _keys(node_ids: Iterable[str]) -> list[bytes]:
    return [public_key_of(node_id) for node_id in sorted(set(node_ids))]
