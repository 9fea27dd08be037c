# SPDX-License-Identifier: Apache-2.0
"""The names of a node, all computed from its Ed25519 key. Pure: no file, no randomness.

- node ID: base58 (Bitcoin alphabet) of the 32 bytes of the public key.
- host name: `n-` and the first 10 characters of the node ID in lower case, as DNS knows no case. A short
  name for people; two nodes are told apart by the node ID.
- fingerprint: `SHA256:` and unpadded base64 of the SHA-256 of the key in SSH wire format (RFC 4253, 6.6;
  RFC 8709, 4). It is what `ssh-keygen -l` prints for the same key, so people know how to compare it and a
  stock tool can check it.
- WireGuard key: the standard map from Ed25519 to Curve25519 (libsodium's
  crypto_sign_ed25519_{sk,pk}_to_curve25519). Chosen over a hash of the seed because the map works on public
  keys too: any peer computes a node's WireGuard public key from its node ID alone, so the two can never
  disagree and no second key has to be announced, signed or stored.

nacl.bindings instead of nacl.signing and nacl.public: the same library without its second layer, as every
start of a machine waits for this import.
"""

from binascii import b2a_base64
from functools import lru_cache

import base58
from nacl import bindings
from nacl.exceptions import CryptoError

from agent.errors import ClusterError
from agent.model import Identity

SEED_BYTES = 32
_SSH_PREFIX = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"


def identity_of_public_key(public_key: bytes) -> Identity:
    """Return the identity of the node whose Ed25519 public key (32 bytes) this is.

    Raises ClusterError when it is not a point of the curve's prime-order group.
    """
    # Small-order points would give a WireGuard key that everybody knows.
    if len(public_key) != 32 or not bindings.crypto_core_ed25519_is_valid_point(public_key):
        raise ClusterError("not an Ed25519 public key", hint="a node ID is the base58 form of 32 bytes")
    node_id = base58.b58encode(public_key).decode()
    return Identity(
        node_id=node_id,
        public_key=public_key,
        hostname=f"n-{node_id[:10].lower()}",
        fingerprint="SHA256:" + _base64(bindings.crypto_hash_sha256(_SSH_PREFIX + public_key)).rstrip("="),
        wireguard_public_key=_base64(bindings.crypto_sign_ed25519_pk_to_curve25519(public_key)),
    )


# Base58 and the curve take a third of a millisecond, and the same few nodes come by at every tick.
@lru_cache(maxsize=16384)
def identity_of_node_id(node_id: str) -> Identity:
    """Return the identity that a node ID names; ClusterError when it is not a node ID."""
    try:
        identity = identity_of_public_key(base58.b58decode(node_id) if len(node_id) <= 44 else b"")
    except (ValueError, CryptoError, ClusterError):
        identity = None
    if identity is None or identity.node_id != node_id:
        raise ClusterError(
            f"{node_id[:60]!r} is not a node ID",
            hint="a node ID is the base58 form of an Ed25519 public key; see: node-agent info",
        )
    return identity


def identity_of_seed(seed: bytes) -> Identity:
    """Return the identity of the node whose private seed (32 bytes) this is."""
    return identity_of_public_key(_key_pair(seed)[0])


def signing_key(seed: bytes) -> bytes:
    """Return the 64 bytes that libsodium signs with (seed and public key). Secret."""
    return _key_pair(seed)[1]


def wireguard_private_key(seed: bytes) -> bytes:
    """Return the Curve25519 private key (32 bytes, clamped) that goes with the node key. Secret."""
    return bindings.crypto_sign_ed25519_sk_to_curve25519(_key_pair(seed)[1])


def _key_pair(seed: bytes) -> tuple[bytes, bytes]:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    return bindings.crypto_sign_seed_keypair(seed)


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()
