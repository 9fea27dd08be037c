# SPDX-License-Identifier: Apache-2.0
"""Keys, node IDs and credentials for the tests of forming."""

from dataclasses import replace

from agent.cluster import Credential, Peer, Phase, Policy, Ticket
from agent.identity import identity_of_seed

SEEDS = tuple(sorted((bytes([i]) * 32 for i in range(1, 13)), key=lambda s: identity_of_seed(s).node_id))
NODES = tuple(identity_of_seed(seed).node_id for seed in SEEDS)
OPERATOR = identity_of_seed(b"operator" * 4).public_key
CLUSTER_ID = "abcdefghijklmnopqrstuvwx23"


def make_credential(
    machines: int,
    *,
    voters: int | None = None,
    policy: Policy = Policy.AUTO,
    allowlist: tuple[str, ...] = (),
    founder: bool = False,
    name: str = "lab",
) -> Credential:
    return Credential(
        cluster_id=CLUSTER_ID,
        name=name,
        gossip_key=bytes(32),
        operator_key=OPERATOR,
        ticket=Ticket(CLUSTER_ID, bytes(16), None, founder, OPERATOR, bytes(64)),
        machines=machines,
        voters=voters or max(n for n in (1, 3, 5) if n <= max(1, machines)),
        policy=policy,
        allowlist=allowlist,
        ipv4_range="10.86.0.0/16",
        seeds=(),
        srv=None,
    )


def with_founder(credential: Credential) -> Credential:
    """Return the credential as the founding medium has it."""
    return replace(credential, ticket=replace(credential.ticket, founder=True))


def hardware_of(index: int) -> str:
    return f"{index + 1:012x}"


def make_peer(
    index: int, *, phase: Phase = Phase.FORMING, genesis: str | None = None, alive: bool = True
) -> Peer:
    return Peer(
        name=f"{NODES[index]}.{hardware_of(index)}",
        node_id=NODES[index],
        hardware=hardware_of(index),
        address="192.0.2.1",
        alive=alive,
        phase=phase.value,
        genesis=genesis,
        wireguard_port=51820,
        addresses=(),
        voter=False,
        seen=0.0,
    )
