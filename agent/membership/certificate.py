# SPDX-License-Identifier: Apache-2.0
"""Certificates: who was admitted, signed by the admission key, for any member to check offline. Pure.

What is signed, in the context `cluster/certificate`, is a body of agent/wire.py with `genesis` (32 bytes),
`node` (the public key) and `hardware` (6 bytes).
"""

from agent import wire
from agent.cluster import Certificate
from agent.errors import ClusterError
from agent.node_ids import node_id_of, public_key_of
from agent.signature import Signature, sign, verify

CONTEXT = "cluster/certificate"


def issue_certificate(admission_seed: bytes, genesis: str, node_id: str, hardware: str) -> Certificate:
    """Return the certificate of a node: `genesis` is the genesis' hash, `hardware` as in Peer."""
    signature = sign(admission_seed, CONTEXT, _message(genesis, node_id, hardware)).signature
    return Certificate(genesis, node_id, hardware, signature)


def verify_certificate(certificate: Certificate, genesis: str, admission_key: bytes) -> None:
    """Raise ClusterError unless the admission key (32 bytes) of this genesis signed the certificate."""
    if certificate.genesis != genesis:
        raise ClusterError("the certificate is one of another cluster")
    signer = node_id_of(admission_key)
    message = _message(certificate.genesis, certificate.node_id, certificate.hardware)
    try:
        verify(Signature(signer, CONTEXT, certificate.signature), CONTEXT, message)
    except ClusterError:
        raise ClusterError("the certificate is forged: its signature is wrong") from None


def _message(genesis: str, node_id: str, hardware: str) -> bytes:
    return wire.pack(
        {
            "genesis": bytes.fromhex(genesis),
            "node": public_key_of(node_id),
            "hardware": bytes.fromhex(hardware),
        }
    )
