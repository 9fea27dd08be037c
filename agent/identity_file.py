# SPDX-License-Identifier: Apache-2.0
"""The format of identity.json. Pure: bytes in, record out, and back.

Version 1 is a JSON object with exactly these keys:

    version     1
    node_id     base58 of the Ed25519 public key
    protection  "none": the seed stands in the file, which mode 0600 and the disk's encryption guard
                "tpm2": the seed is sealed to this machine's TPM2 (agent/seal.py)
    secret      base64 of the 32 bytes of the seed, or of the sealed blob
"""

import json
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import NamedTuple

from agent.errors import ClusterError
from agent.identity import SEED_BYTES, identity_of_node_id, identity_of_seed
from agent.model import Identity

VERSION = 1
MAX_BYTES = 64 * 1024
_KEYS = {"version", "node_id", "protection", "secret"}


class StoredIdentity(NamedTuple):
    """An identity as it lies on the disk. `secret` is the seed, or with protection `tpm2` the sealed blob."""

    identity: Identity
    protection: str
    secret: bytes

    def __repr__(self) -> str:
        return f"StoredIdentity({self.identity.node_id}, protection={self.protection})"


def encode(stored: StoredIdentity) -> bytes:
    """Return the content of the file."""
    content = {
        "version": VERSION,
        "node_id": stored.identity.node_id,
        "protection": stored.protection,
        "secret": b2a_base64(stored.secret, newline=False).decode(),
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def decode(data: bytes, where: str) -> StoredIdentity:
    """Return the identity in `data`, the content of the file named `where`.

    Raises ClusterError for whatever is not exactly the format: a node whose file is damaged must stop, as
    going on under another identity would leave the cluster with a member that is gone for good.
    """
    if not data.strip(b"\0"):
        raise _damaged(where, "it is empty")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise _damaged(where, "it is not JSON") from None
    if not isinstance(content, dict):
        raise _damaged(where, "it is not a JSON object")
    version = content.get("version")
    if type(version) is int and version > VERSION:
        raise ClusterError(
            f"{where}: format version {version} is newer than this image, which knows version {VERSION}",
            hint="boot the newer image that wrote it; the file was left as it is",
        )
    if type(version) is not int or version != VERSION:
        raise _damaged(where, f"its version is {str(version)[:20]!r} where {VERSION} is expected")
    if content.keys() != _KEYS:
        wrong = ", ".join(sorted(key[:40] for key in content.keys() ^ _KEYS))
        raise _damaged(where, f"missing or unknown keys: {wrong[:200]}")
    node_id, protection, secret = content["node_id"], content["protection"], content["secret"]
    if not isinstance(node_id, str) or not isinstance(secret, str):
        raise _damaged(where, "node_id and secret must be strings")
    if protection not in ("none", "tpm2"):
        raise _damaged(where, "protection must be none or tpm2")
    try:
        identity = identity_of_node_id(node_id)
        raw = a2b_base64(secret, strict_mode=True)
    except ClusterError:
        raise _damaged(where, "node_id is not a node ID") from None
    except (Base64Error, ValueError):
        raise _damaged(where, "secret is not base64") from None
    stored = StoredIdentity(identity, protection, raw)
    if protection == "none":
        check_seed(stored, raw, where)
    elif not raw:
        raise _damaged(where, "secret is empty")
    return stored


def check_seed(stored: StoredIdentity, seed: bytes, where: str) -> None:
    """Raise ClusterError unless `seed` is the private half of the identity."""
    if len(seed) != SEED_BYTES:
        raise _damaged(where, f"the seed has {len(seed)} bytes where {SEED_BYTES} are expected")
    if identity_of_seed(seed).node_id != stored.identity.node_id:
        raise _damaged(where, "the private key does not belong to the node ID")


def _damaged(where: str, what: str) -> ClusterError:
    return ClusterError(
        f"{where}: the identity of this node is damaged: {what}",
        hint="it was left as it is: restore it from a backup, or wipe /var to make the machine a new node",
    )
