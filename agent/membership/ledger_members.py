# SPDX-License-Identifier: Apache-2.0
"""The commands of the ledger about who may be a member: admit, approve, forget, remove, settings. Pure.

A change reads all its fields and calls `done` before it looks at the ledger: what is malformed is refused
whatever the ledger says.
"""

from collections.abc import Mapping
from dataclasses import replace

from agent import wire
from agent.cluster import Certificate, Genesis, Ledger, Member, Policy, Secret
from agent.errors import ClusterError
from agent.membership.addresses import mesh_ipv4
from agent.membership.certificate import verify_certificate
from agent.membership.ledger_servers import let_go_of
from agent.membership.ledger_voters import MAX_VOTERS
from agent.membership.rules import MAX_ALLOWED, PLAN, VOTERS, check_together
from agent.membership.secrets import GOSSIP, MAX_SECRET, RAFT, SEALED_OVERHEAD

MAX_MEMBERS = 10_000
MAX_APPROVED = 1000
MAX_REMOVED = 100_000
HARDWARE_BYTES = 6
LAST_VERSION = 2**53
VOTERS_CHANGED = "others have a vote by now"
_FOR_JOINERS = (GOSSIP, RAFT)


def is_approved(ledger: Ledger, node_id: str, hardware: str) -> bool:
    """Tell whether an operator let this node in; a member on new hardware only with that very hardware."""
    exactly = f"{node_id}.{hardware}" in ledger.approved
    return exactly or (node_id not in ledger.members and node_id in ledger.approved)


def admit(ledger: Ledger, fields: wire.Fields, genesis: Genesis) -> tuple[Ledger, str]:
    """Make a node a member, or bind a member to the hardware that an operator approved."""
    node_id = fields.node("node")
    hardware = fields.hexadecimal("hardware", exactly=HARDWARE_BYTES)
    signature = fields.bytes("signature", exactly=wire.SIGNATURE_BYTES)
    boxes = {}
    for box in fields.maps("secrets", most=len(_FOR_JOINERS)):
        name, version = box.choice("name", _FOR_JOINERS), box.integer("version", 1, LAST_VERSION)
        boxes[name] = version, box.bytes("box", max=MAX_SECRET + SEALED_OVERHEAD)
        box.done()
    fields.done()
    if boxes.keys() != set(_FOR_JOINERS):
        raise ClusterError(f"a member needs the secrets {' and '.join(_FOR_JOINERS)}")
    if node_id in ledger.removed:
        raise ClusterError(f"{node_id} was removed, which is final")
    certificate = Certificate(ledger.genesis, node_id, hardware, signature)
    verify_certificate(certificate, ledger.genesis, genesis.admission_key)
    number = ledger.revision + 1
    old_member = ledger.members.get(node_id)
    if old_member is not None:
        if old_member.hardware == hardware:
            raise ClusterError(f"{node_id} is a member already")
        if not is_approved(ledger, node_id, hardware):
            raise ClusterError(f"{node_id} is a member on other hardware, and nobody approved the new one")
        member = replace(old_member, hardware=hardware, certificate=certificate, number=number)
    else:
        if ledger.policy is Policy.APPROVE and not is_approved(ledger, node_id, hardware):
            raise ClusterError(f"nobody approved {node_id}")
        if len(ledger.members) >= MAX_MEMBERS:
            raise ClusterError(f"there are {MAX_MEMBERS} members, and no more can be")
        taken = {member.ipv4 for member in ledger.members.values()}
        address = mesh_ipv4(genesis.ipv4_range, node_id, taken)
        member = Member(node_id, hardware, address, certificate, number)
    return (
        replace(
            ledger,
            members={**ledger.members, node_id: member},
            approved=_without(ledger.approved, node_id),
            secrets=_seal(ledger, node_id, boxes),
        ),
        f"admitted {node_id}",
    )


def approve(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Let a node in that waits, or a member on the new hardware that is named."""
    node_id = fields.node("node")
    hardware = None if fields.nil("hardware") else fields.hexadecimal("hardware", exactly=HARDWARE_BYTES)
    fields.done()
    if node_id in ledger.removed:
        raise ClusterError(f"{node_id} was removed, which is final")
    member = ledger.members.get(node_id)
    if member is not None and hardware in (None, member.hardware):
        raise ClusterError(f"{node_id} is a member already")
    entry = node_id if hardware is None else f"{node_id}.{hardware}"
    if entry in ledger.approved:
        raise ClusterError(f"{node_id} is approved already")
    if len(ledger.approved) >= MAX_APPROVED:
        raise ClusterError(f"{MAX_APPROVED} nodes are approved and have not come: forget some")
    return replace(ledger, approved=ledger.approved | {entry}), f"approved {node_id}"


def forget(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Take back the approval of a node that has not come yet."""
    node_id = fields.node("node")
    fields.done()
    approved = _without(ledger.approved, node_id)
    if approved == ledger.approved:
        raise ClusterError(f"{node_id} is not approved")
    return replace(ledger, approved=approved), f"took back the approval of {node_id}"


def remove(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Remove a node for good, a member or one that only asks to be.

    Who asks may say who had a vote when it made sure that the others can do without the node; then it is
    refused where others have one by now (VOTERS_CHANGED).

    Its leases are not freed but run out, as nobody can know that it has stopped; it cannot renew them.
    """
    node_id = fields.node("node")
    seen = None if fields.nil("voters") else fields.nodes("voters", most=MAX_VOTERS)
    fields.done()
    if node_id in ledger.removed:
        raise ClusterError(f"{node_id} was removed already")
    if tuple(ledger.members) == (node_id,):
        raise ClusterError(f"{node_id} is the last member")
    voters = tuple(voter for voter in ledger.voters if voter != node_id)
    if not voters:
        raise ClusterError(f"{node_id} is the last voter: another member has to vote first")
    if seen is not None and set(seen) != set(ledger.voters):
        raise ClusterError(VOTERS_CHANGED)
    if len(ledger.removed) >= MAX_REMOVED:
        raise ClusterError(f"{MAX_REMOVED} nodes were removed, and no more can be")
    return (
        replace(
            ledger,
            members={other: member for other, member in ledger.members.items() if other != node_id},
            voters=voters,
            approved=_without(ledger.approved, node_id),
            removed={**ledger.removed, node_id: ledger.revision + 1},
            secrets={name: _unseal(secret, node_id) for name, secret in ledger.secrets.items()},
            servers={role: let_go_of(servers, node_id) for role, servers in ledger.servers.items()},
        ),
        f"removed {node_id}",
    )


def settings(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Change the policy, its allowlist, and the wanted number of voters."""
    policy = Policy(fields.choice("policy", tuple(each.value for each in Policy)))
    allowlist = fields.texts("allowlist", most=MAX_ALLOWED, max=67)
    voters = fields.integer("voters", min(VOTERS), max(VOTERS))
    fields.done()
    errors: list[str] = []
    try:
        PLAN["allowlist"].read(list(allowlist))
        PLAN["voters"].read(voters)
    except ValueError:
        raise ClusterError("the allowlist or the number of voters is not allowed") from None
    check_together({"policy": policy, "allowlist": allowlist}, errors)
    if errors:
        raise ClusterError(errors[0])
    changed = replace(
        ledger, policy=policy, allowlist=allowlist, wanted_voters=voters, settings=ledger.revision + 1
    )
    return changed, f"the policy is {policy.value}, {voters} voters are wanted"


def _seal(ledger: Ledger, node_id: str, boxes: Mapping[str, tuple[int, bytes]]) -> dict[str, Secret]:
    """Return the secrets with a box more for a node; `boxes` has for each secret its version and the box."""
    secrets = dict(ledger.secrets)
    for name, (version, box) in boxes.items():
        secret = secrets[name]
        if version != secret.version:
            # The joiner would be given a key that was changed in the meantime.
            raise ClusterError(f"the secret {name} has version {secret.version} by now, not {version}")
        secrets[name] = replace(secret, sealed={**secret.sealed, node_id: box})
    return secrets


def _without(approved: frozenset[str], node_id: str) -> frozenset[str]:
    return frozenset(entry for entry in approved if entry.partition(".")[0] != node_id)


def _unseal(secret: Secret, node_id: str) -> Secret:
    if node_id not in secret.sealed:
        return secret
    return replace(secret, sealed={node: box for node, box in secret.sealed.items() if node != node_id})
