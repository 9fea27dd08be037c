# SPDX-License-Identifier: Apache-2.0
"""Tell a node that it was removed, while it still hears the gossip: query `cos-gone`. Pure.

Signed by the admission key in the context `cluster/removed`: {"genesis": 32 bytes, "node": public key}. The
others drop the removed node from mesh and Raft at once, so it would not read of its removal in the ledger,
and would wait for a leader for ever. Only voters have the key, so nobody else can talk a member out.
"""

from agent import wire
from agent.errors import ClusterError
from agent.node_ids import node_id_of, public_key_of
from agent.service.membership import Membership

QUERY = "cos-gone"
CONTEXT = "cluster/removed"
SECONDS = 1.0
"""How long the former gossip key is kept after a removal, so that its node hears: some rounds of gossip."""


def say(admission_seed: bytes, genesis: str, node_id: str) -> bytes:
    """Return what tells the node `node_id` that it was removed."""
    return wire.seal(
        admission_seed, CONTEXT, {"genesis": bytes.fromhex(genesis), "node": public_key_of(node_id)}
    )


def check(payload: bytes, membership: Membership, me: str) -> None:
    """Raise ClusterError unless `payload` says that the node `me` was removed from its cluster."""
    signer, body = wire.open(payload, CONTEXT, wire.MAX_QUERY)
    fields = wire.Fields(body, "a farewell")
    genesis, node_id = fields.hexadecimal("genesis", exactly=32), fields.node("node")
    fields.done()
    if signer != node_id_of(membership.genesis.admission_key):
        raise ClusterError("a farewell that a key without a say in this cluster signed")
    if (genesis, node_id) != (membership.hash, me):
        raise ClusterError("a farewell to another node")
