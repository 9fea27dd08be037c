# SPDX-License-Identifier: Apache-2.0
"""Password hashes as the ledger has them: closed, so that a copy of a disk has none. Pure but for nonces.

A nonce of 24 bytes and libsodium's secret box (crypto_secretbox) over the user's name, NUL, the hash. The key
is HMAC-SHA256(Raft password, "cluster-os users"): every member has that password, and keeps it in
secrets.msgpack, which opens with its node key only (agent/membership/secrets.py).
"""

import hashlib
import hmac

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.utils import random

from agent.errors import ClusterError
from agent.users.user import RULES

MAX_BOX = 512  # bytes
_NONCE = bindings.crypto_secretbox_NONCEBYTES


def close_hash(raft_password: str, name: str, password_hash: str) -> bytes:
    """Return the box with the password hash of the user `name`."""
    nonce = random(_NONCE)
    content = f"{name}\0{password_hash}".encode()
    return nonce + bindings.crypto_secretbox(content, nonce, _key(raft_password))


def open_hash(raft_password: str, name: str, box: bytes) -> str:
    """Return the password hash in the box; ClusterError when it holds none of this user. Secret."""
    try:
        content = bindings.crypto_secretbox_open(box[_NONCE:], box[:_NONCE], _key(raft_password)).decode()
        owner, _, password_hash = content.partition("\0")
        if owner != name or password_hash != RULES["password_hash"].read(password_hash):
            raise ValueError
    except (CryptoError, ValueError, TypeError):
        raise ClusterError(
            f"the password of user {name} cannot be read", hint="set it again: node-agent users"
        ) from None
    return password_hash


def _key(raft_password: str) -> bytes:
    return hmac.new(raft_password.encode(), b"cluster-os users", hashlib.sha256).digest()
