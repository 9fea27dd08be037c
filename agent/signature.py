# SPDX-License-Identifier: Apache-2.0
"""Signatures of nodes over messages. Pure.

A signature that was made for one purpose must say nothing elsewhere, so what is signed is:

    "ClusterOS signature v1" NUL context NUL message

The context is a word for the purpose: 1 to 64 lower-case letters, digits, `.`, `-` and `/`. It holds no NUL,
so no two pairs of context and message give the same bytes. `node-agent sign` signs in the context
`message` only. Each protocol of the cluster has a context of its own, which no command lets a person choose.

The signature is Ed25519 (RFC 8032) by the node key. Its JSON form (version 1) has exactly the keys `version`,
`node_id`, `context` and `signature` (base64 of 64 bytes).
"""

import json
import re
from binascii import a2b_base64, b2a_base64
from typing import NamedTuple

from nacl import bindings
from nacl.exceptions import BadSignatureError

from agent.errors import ClusterError
from agent.identity import identity_of_node_id, identity_of_seed, signing_key

VERSION = 1
MESSAGE = "message"
MAX_MESSAGE_BYTES = 64 << 20
_PREFIX = b"ClusterOS signature v1"
_CONTEXT = re.compile(r"[a-z0-9./-]{1,64}")
_KEYS = {"version", "node_id", "context", "signature"}


class Signature(NamedTuple):
    node_id: str
    context: str
    signature: bytes  # 64 bytes


def sign(seed: bytes, context: str, message: bytes) -> Signature:
    """Sign `message` for the purpose `context` with the node key that `seed` (32 bytes) gives."""
    signed = bindings.crypto_sign(_bytes_to_sign(context, message), signing_key(seed))
    return Signature(identity_of_seed(seed).node_id, context, signed[: bindings.crypto_sign_BYTES])


def verify(signature: Signature, context: str, message: bytes) -> None:
    """Raise ClusterError unless the node `signature.node_id` signed `message` for the purpose `context`.

    Who that node is, and whether its word counts, is the caller's question.
    """
    if signature.context != context:
        raise ClusterError(
            f"bad signature: it was made for the purpose {signature.context!r}, not {context!r}"
        )
    public_key = identity_of_node_id(signature.node_id).public_key
    try:
        bindings.crypto_sign_open(signature.signature + _bytes_to_sign(context, message), public_key)
    except (BadSignatureError, ValueError):
        raise ClusterError(
            f"bad signature: node {signature.node_id} did not sign this message, or it was changed since"
        ) from None


def encode(signature: Signature) -> str:
    """Return the JSON form, one line."""
    return json.dumps(
        {
            "version": VERSION,
            "node_id": signature.node_id,
            "context": signature.context,
            "signature": b2a_base64(signature.signature, newline=False).decode(),
        }
    )


def decode(data: bytes, where: str) -> Signature:
    """Return the signature in `data`, the content of the file named `where`; ClusterError when it is none."""
    try:
        content = json.loads(data)
        if content.keys() != _KEYS or content["version"] != VERSION:
            raise ValueError
        node_id, context = content["node_id"], content["context"]
        raw = a2b_base64(content["signature"], strict_mode=True)
        if not isinstance(node_id, str) or not isinstance(context, str) or not _CONTEXT.fullmatch(context):
            raise ValueError
        if len(raw) != bindings.crypto_sign_BYTES:
            raise ValueError
        identity_of_node_id(node_id)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ClusterError):
        raise ClusterError(
            f"{where} is not a signature of version {VERSION}",
            hint="give the JSON that `node-agent sign` printed",
        ) from None
    return Signature(node_id, context, raw)


def _bytes_to_sign(context: str, message: bytes) -> bytes:
    if not _CONTEXT.fullmatch(context):
        raise ValueError(f"not a context: {context!r}")
    return b"\0".join((_PREFIX, context.encode(), message))
