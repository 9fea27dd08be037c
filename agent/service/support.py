# SPDX-License-Identifier: Apache-2.0
"""What the agent itself adds to a support archive. Nothing secret: no key, no password, no ticket, no box."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.cluster import Ledger

if TYPE_CHECKING:
    from agent.service.daemon import Daemon


def collect(daemon: "Daemon") -> dict[str, str]:
    """Return files by name."""
    found: dict[str, Any] = {
        "status.json": daemon.status.to_dict() if daemon.status else None,
        "configuration.json": {
            section: value._asdict() for section, value in daemon.config._asdict().items()
        },
        "gossip.json": [
            {"name": peer.name, "address": peer.address, "alive": peer.alive, "phase": peer.phase}
            for peer in daemon.gossip.peers
        ],
    }
    if daemon.membership is not None:
        found["ledger.json"] = describe_ledger(daemon.membership.ledger)
    return {name: json.dumps(content, indent=1) + "\n" for name, content in found.items()}


def describe_ledger(ledger: Ledger) -> dict[str, Any]:
    """Return the ledger in plain JSON types, with the versions of secrets and without their boxes."""
    bare = replace(ledger, secrets={})
    return {
        "genesis": bare.genesis,
        "revision": bare.revision,
        "generation": bare.generation,
        "voters": list(bare.voters),
        "wanted_voters": bare.wanted_voters,
        "policy": bare.policy.value,
        "allowlist": list(bare.allowlist),
        "approved": sorted(bare.approved),
        "removed": dict(bare.removed),
        "members": {
            node_id: {"ipv4": member.ipv4, "hardware": member.hardware, "number": member.number}
            for node_id, member in bare.members.items()
        },
        "leases": {
            role: {"holder": lease.holder, "epoch": lease.epoch, "renewal": lease.renewal}
            for role, lease in bare.leases.items()
        },
        "users": {name: account.user.uid for name, account in bare.users.items()},
        "secrets": {name: secret.version for name, secret in ledger.secrets.items()},
    }
