# SPDX-License-Identifier: Apache-2.0
"""Node IDs and public keys, from one to the other, remembered. Pure.

Messages and records of the cluster carry raw keys, everything else speaks of node IDs. To compute one from
the other takes longer than to verify a signature, as agent/identity.py checks the point and makes all names
of a node; and the same few keys come again and again.
"""

from functools import lru_cache

from agent.identity import identity_of_node_id, identity_of_public_key

CACHE = 8192


@lru_cache(CACHE)
def node_id_of(public_key: bytes) -> str:
    """Return the node ID of an Ed25519 public key (32 bytes); ClusterError when it is none."""
    return identity_of_public_key(public_key).node_id


@lru_cache(CACHE)
def public_key_of(node_id: str) -> bytes:
    """Return the public key (32 bytes) that a node ID names; ClusterError when it is none."""
    return identity_of_node_id(node_id).public_key
