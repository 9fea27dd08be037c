# SPDX-License-Identifier: Apache-2.0
"""Who may get the lease of a role, in the order of preference. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from agent.cluster import Ledger, Peer

COORDINATOR = "coordinator"
"""The role that sees to the cluster's own affairs: of kind `leader`, the agent's own, without a folder."""


def list_candidates(
    me: str, own: Iterable[str], ledger: Ledger, peers: Iterable[Peer]
) -> Mapping[str, Sequence[str]]:
    """Return the candidates of each role; `own` are the roles that the node `me` can hold itself.

    A role that anybody announces is one. Its candidates are the members that announce it, on the hardware
    that was admitted: those with the fewest leases first, of these the one with the lowest node ID.
    """
    alive = [
        peer
        for peer in peers
        if peer.alive
        and peer.node_id != me
        and peer.node_id in ledger.members
        and ledger.members[peer.node_id].hardware == peer.hardware
    ]
    # The leader itself first: what it grants to itself takes the shortest way.
    voters = [me, *sorted(peer.node_id for peer in alive if peer.node_id in ledger.voters)]
    found: dict[str, Sequence[str]] = {COORDINATOR: voters}
    able = {me: set(own)} | {peer.node_id: set(peer.roles) for peer in alive}
    held = Counter(lease.holder for lease in ledger.leases.values() if lease.role != COORDINATOR)
    for role in sorted({role for roles in able.values() for role in roles} - {COORDINATOR}):
        order = sorted(able, key=lambda node: (held[node], node))
        found[role] = [node for node in order if role in able[node]]
        if role not in ledger.leases:
            # So that roles which begin together do not all begin in one place.
            held[found[role][0]] += 1
    return found
