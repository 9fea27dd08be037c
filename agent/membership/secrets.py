# SPDX-License-Identifier: Apache-2.0
"""Secrets that members share: sealed for each of them, and at rest on a node. Pure but for nonces.

- For members: libsodium's sealed box (crypto_box_seal) for the Curve25519 form of the node key, which follows
  from the node ID (agent/identity.py).
- At rest, secrets.msgpack: "ClusterOS secrets v1" NUL, a nonce of 24 bytes, and libsodium's secret box
  (crypto_secretbox) over a body of agent/wire.py. Its key is HMAC-SHA256(node seed, "cluster-os secrets at
  rest"): a copy of the file opens on no other node; where the seed is sealed to a TPM, on no other machine.
- The Raft password is base64 of HMAC-SHA256(admission seed, "cluster-os raft"): who holds the seed needs no
  copy of it.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.utils import random

from agent import wire
from agent.errors import ClusterError
from agent.identity import wireguard_private_key
from agent.node_ids import public_key_of

ADMISSION, RAFT, GOSSIP = "admission", "raft", "gossip"
KEY_BYTES = 32
SEALED_OVERHEAD: int = bindings.crypto_box_SEALBYTES
MAX_SECRET = 4096
_MAGIC = b"ClusterOS secrets v1\0"
_MAX_FILE = 64 << 10
_LAST_VERSION = 2**53


@dataclass(frozen=True)
class NodeSecrets:
    """What a member keeps: enough to gossip and to follow Raft after a reboot, with nobody to ask."""

    genesis: str  # hash of the genesis that they belong to
    gossip_version: int  # 1: the key of the credential
    gossip_key: bytes = field(repr=False)  # 32 bytes
    raft_password: str = field(repr=False)
    admission_seed: bytes | None = field(repr=False)  # 32 bytes; None: not a voter


def seal_for(secret: bytes, node_ids: Iterable[str]) -> dict[str, bytes]:
    """Return `secret` (at most MAX_SECRET bytes) in a sealed box for each of the nodes."""
    if len(secret) > MAX_SECRET:
        raise ClusterError(f"a shared secret has at most {MAX_SECRET} bytes, not {len(secret)}")
    return {
        node_id: bindings.crypto_box_seal(secret, _curve25519(public_key_of(node_id)))
        for node_id in sorted(node_ids)
    }


def open_sealed(seed: bytes, box: bytes) -> bytes:
    """Return the secret in the box that was sealed for the node of `seed`; ClusterError when it was not."""
    private = wireguard_private_key(seed)
    try:
        return bindings.crypto_box_seal_open(box, bindings.crypto_scalarmult_base(private), private)
    except (CryptoError, ValueError, TypeError):
        raise ClusterError("a shared secret does not open with the key of this node") from None


def derive_raft_password(admission_seed: bytes) -> str:
    """Return the password by which Raft's peers know each other. Secret."""
    return b64encode(_derive(admission_seed, b"cluster-os raft")).decode()


def encode_at_rest(secrets: NodeSecrets, seed: bytes) -> bytes:
    """Return the content of secrets.msgpack, closed with the node seed."""
    body = {
        "genesis": bytes.fromhex(secrets.genesis),
        "gossip_version": secrets.gossip_version,
        "gossip_key": secrets.gossip_key,
        "raft_password": secrets.raft_password,
        "admission_seed": secrets.admission_seed,
    }
    nonce = random(bindings.crypto_secretbox_NONCEBYTES)
    key = _derive(seed, b"cluster-os secrets at rest")
    return _MAGIC + nonce + bindings.crypto_secretbox(wire.pack(body), nonce, key)


def decode_at_rest(data: bytes, seed: bytes, where: str) -> NodeSecrets:
    """Return the secrets in `data`, the content of the file `where`; ClusterError when it is damaged."""
    hint = (
        "it was left as it is: restore it from a backup; or, where other voters are left, remove the folder "
        "that it is in, and the node joins again"
    )
    start = len(_MAGIC) + bindings.crypto_secretbox_NONCEBYTES
    if not data.startswith(_MAGIC) or not start < len(data) <= _MAX_FILE:
        raise ClusterError(f"{where} does not hold the secrets of a node", hint=hint)
    key = _derive(seed, b"cluster-os secrets at rest")
    try:
        body = bindings.crypto_secretbox_open(data[start:], data[len(_MAGIC) : start], key)
    except (CryptoError, ValueError):
        raise ClusterError(f"{where} is damaged, or belongs to another node", hint=hint) from None
    fields = wire.Fields(wire.unpack(body), where)
    found = NodeSecrets(
        genesis=fields.hexadecimal("genesis", exactly=32),
        gossip_version=fields.integer("gossip_version", 1, _LAST_VERSION),
        gossip_key=fields.bytes("gossip_key", exactly=KEY_BYTES),
        raft_password=fields.text("raft_password", min=44, max=44),
        admission_seed=(
            None if fields.nil("admission_seed") else fields.bytes("admission_seed", exactly=KEY_BYTES)
        ),
    )
    fields.done()
    return found


def _curve25519(public_key: bytes) -> bytes:
    return bindings.crypto_sign_ed25519_pk_to_curve25519(public_key)


def _derive(seed: bytes, purpose: bytes) -> bytes:
    return hmac.new(seed, purpose, hashlib.sha256).digest()
