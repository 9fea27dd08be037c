# SPDX-License-Identifier: Apache-2.0
"""The format of secret.json, the secret half of a bundle. Pure: bytes in, record out, and back.

Version 1 is a JSON object with exactly the keys `version`, `cluster_id`, `operator_seed` (base64 of the 32
bytes of an Ed25519 private key) and `gossip_key` (base64 of 32 bytes).
"""

import json
from base64 import b64encode
from dataclasses import dataclass, field

from agent import rule
from agent.errors import ClusterError
from agent.membership import rules

VERSION = 1
_HINT = "restore it from your backup: without it no credential of this cluster can be issued"
_RULES = {
    "version": rules.VERSION,
    "cluster_id": rules.IDENTIFIER,
    "operator_seed": rules.raw_bytes(32, "the private key of the operator"),
    "gossip_key": rules.raw_bytes(32, "the first gossip key"),
}


@dataclass(frozen=True)
class Secrets:
    """What stays on the operator's disk."""

    cluster_id: str
    operator_seed: bytes = field(repr=False)  # 32 bytes
    gossip_key: bytes = field(repr=False)  # 32 bytes


def encode_secrets(secrets: Secrets) -> bytes:
    """Return the content of the file. Secret."""
    content = {
        "version": VERSION,
        "cluster_id": secrets.cluster_id,
        "operator_seed": b64encode(secrets.operator_seed).decode(),
        "gossip_key": b64encode(secrets.gossip_key).decode(),
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def decode_secrets(data: bytes, where: str) -> Secrets:
    """Return the secrets in `data`, the content of the file `where`; ClusterError never shows a value."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise ClusterError(f"{where} is damaged: it is not JSON", hint=_HINT) from None
    errors: list[str] = []
    found = rule.read_all(content, _RULES, errors)
    rule.refuse(where, errors, _HINT)
    del found["version"]
    return Secrets(**found)
