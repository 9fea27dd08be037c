# SPDX-License-Identifier: Apache-2.0
"""What nodes say to each other: canonical msgpack, and signed envelopes around it. Pure.

A body is a map with text keys; values are nil, booleans, integers of 64 bits (signed), text, bytes, lists
and such maps. No floats, no extension types, at most MAX_DEPTH levels. It has exactly one encoding, so that
a hash or a signature over the bytes is one over the meaning: keys sorted by code point, the shortest form of
everything (https://github.com/msgpack/msgpack/blob/master/spec.md). Any other encoding of it is refused.

An envelope is the sender's Ed25519 public key (32 bytes), its signature (64 bytes, agent/signature.py) and
the body. The context that is signed, `cluster/...`, is known to both sides and not sent: it tells the
purpose, so that a message of one protocol is none in another. An envelope says who signed it, not when, nor
to whom: what must be fresh or addressed says so in the body.

A body that came from elsewhere is read by `Fields` (agent/fields.py).
"""

import hashlib
from typing import Any

import msgpack

from agent.errors import ClusterError
from agent.fields import Fields
from agent.node_ids import node_id_of, public_key_of
from agent.signature import Signature, sign, verify

__all__ = ["Fields", "digest", "open", "pack", "seal", "unpack"]

MAX_DEPTH = 8
MAX_BLOB = 64 << 10  # bytes of an envelope or a body that is fetched in parts
MAX_QUERY = 1200  # bytes of an envelope that travels as one Serf query or answer
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
OVERHEAD = PUBLIC_KEY_BYTES + SIGNATURE_BYTES


def pack(body: dict[str, Any]) -> bytes:
    """Return the encoding of `body`; tuples count as lists. ClusterError when it holds what no body may."""
    if not isinstance(body, dict):
        raise ClusterError("a message must be a map")
    data: bytes = msgpack.packb(_sorted(body, 1), use_bin_type=True)
    return data


def unpack(data: bytes, limit: int = MAX_BLOB) -> dict[str, Any]:
    """Return the body that `data` (at most `limit` bytes) encodes; ClusterError unless it is canonical."""
    if len(data) > limit:
        raise ClusterError(f"a message of {len(data)} bytes is longer than {limit}")
    try:
        body = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException):
        raise ClusterError("a message is not msgpack") from None
    if not isinstance(body, dict):
        raise ClusterError("a message must be a map")
    # Also finds doubled keys, as the second one is gone from the map.
    if pack(body) != data:
        raise ClusterError("a message is not in the canonical encoding")
    return body


def seal(seed: bytes, context: str, body: dict[str, Any]) -> bytes:
    """Return the envelope of `body`, signed for `context` by the node key of `seed` (32 bytes)."""
    message = pack(body)
    signature = sign(seed, context, message)
    return public_key_of(signature.node_id) + signature.signature + message


def open(data: bytes, context: str, limit: int = MAX_BLOB) -> tuple[str, dict[str, Any]]:
    """Return the node ID of who signed the envelope `data` for the purpose `context`, and its body.

    Raises ClusterError when it is longer than `limit` bytes, badly signed, or holds no canonical body.
    """
    if not OVERHEAD <= len(data) <= limit:
        raise ClusterError(f"an envelope has {OVERHEAD} to {limit} bytes, not {len(data)}")
    node_id = node_id_of(data[:PUBLIC_KEY_BYTES])
    message = data[OVERHEAD:]
    verify(Signature(node_id, context, data[PUBLIC_KEY_BYTES:OVERHEAD]), context, message)
    return node_id, unpack(message, limit)


def digest(context: str, data: bytes) -> bytes:
    """Return the SHA-256 of `data` for the purpose `context` (without NUL): 32 bytes."""
    return hashlib.sha256(context.encode() + b"\0" + data).digest()


def _sorted(value: object, depth: int) -> object:
    """Return `value` with the keys of its maps sorted; ClusterError unless all of it may be in a body."""
    if depth > MAX_DEPTH and isinstance(value, (dict, list, tuple)):
        raise ClusterError(f"a message is nested deeper than {MAX_DEPTH} levels")
    # Not what is derived of them: msgpack's extension type is a tuple too.
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return [_sorted(item, depth + 1) for item in value]
    if isinstance(value, dict):
        if not all(type(key) is str and _encodable(key) for key in value):
            raise ClusterError("a message has a key that is not text")
        return {key: _sorted(value[key], depth + 1) for key in sorted(value)}
    if type(value) not in (type(None), bool, int, str, bytes):
        raise ClusterError(f"a message holds a value of the kind {type(value).__name__}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ClusterError("a message holds an integer of more than 64 bits")
    if isinstance(value, str) and not _encodable(value):
        raise ClusterError("a message holds text that is not Unicode")
    return value


def _encodable(text: str) -> bool:
    # Lone surrogates have no UTF-8.
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
