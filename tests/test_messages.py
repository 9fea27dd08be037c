# SPDX-License-Identifier: Apache-2.0
"""A signature says that this node signed this message for this purpose, and nothing else."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.signature import MESSAGE, Signature, decode, encode, sign, verify

seeds = st.binary(min_size=32, max_size=32)
contexts = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789./-", min_size=1, max_size=64)

SEED = bytes(32)
SIGNED = sign(SEED, MESSAGE, b"hello")


@given(seeds, contexts, st.binary(max_size=500))
def test_what_a_node_signed_is_good(seed: bytes, context: str, message: bytes) -> None:
    made = sign(seed, context, message)
    assert made.node_id == identity_of_seed(seed).node_id
    verify(decode(encode(made).encode(), "file"), context, message)


@given(seeds, contexts, st.binary(max_size=100))
def test_the_signed_bytes_are_as_documented(seed: bytes, context: str, message: bytes) -> None:
    """Checked with another library, so that other programs can verify by the description alone."""
    key = Ed25519PublicKey.from_public_bytes(identity_of_seed(seed).public_key)
    signed = b"ClusterOS signature v1\0" + context.encode() + b"\0" + message
    key.verify(sign(seed, context, message).signature, signed)


@given(st.binary(max_size=50), st.integers(0, 10_000))
def test_a_changed_message_is_bad(message: bytes, position: int) -> None:
    made = sign(SEED, MESSAGE, message)
    changed = bytearray(message + b"\0")
    changed[position % len(changed)] ^= 1
    with pytest.raises(ClusterError, match="bad signature"):
        verify(made, MESSAGE, bytes(changed))


@given(st.integers(0, 511))
def test_a_changed_signature_is_bad(bit: int) -> None:
    raw = bytearray(SIGNED.signature)
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ClusterError, match="bad signature"):
        verify(SIGNED._replace(signature=bytes(raw)), MESSAGE, b"hello")


def test_the_signature_of_one_node_is_not_that_of_another() -> None:
    other = identity_of_seed(b"\1" * 32).node_id
    with pytest.raises(ClusterError, match=f"bad signature: node {other} did not sign"):
        verify(SIGNED._replace(node_id=other), MESSAGE, b"hello")


def test_a_signature_for_one_purpose_is_bad_for_another() -> None:
    made = sign(SEED, "genesis", b"hello")
    with pytest.raises(ClusterError, match="made for the purpose 'genesis', not 'message'"):
        verify(made, MESSAGE, b"hello")
    with pytest.raises(ClusterError, match="did not sign"):
        verify(made._replace(context=MESSAGE), MESSAGE, b"hello")


def test_no_message_carries_a_signature_over_to_another_purpose() -> None:
    made = sign(SEED, "a", b"b\0c")
    for context, message in (("a/b", b"c"), ("ab", b"c")):
        with pytest.raises(ClusterError, match="did not sign"):
            verify(Signature(made.node_id, context, made.signature), context, message)


@pytest.mark.parametrize("context", ["", "a\0b", "Message", "a b", "x" * 65, "é", "a\n"])
def test_a_purpose_that_would_be_ambiguous_cannot_be_signed(context: str) -> None:
    with pytest.raises(ValueError, match="not a context"):
        sign(SEED, context, b"")


GOOD = json.loads(encode(SIGNED))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"7",
        b"\xff",
        b"[" * 100_000,
        json.dumps(GOOD | {"version": 2}).encode(),
        json.dumps(GOOD | {"more": 1}).encode(),
        json.dumps({key: GOOD[key] for key in GOOD if key != "context"}).encode(),
        json.dumps(GOOD | {"signature": GOOD["signature"][:-4]}).encode(),
        json.dumps(GOOD | {"signature": "!" + GOOD["signature"][1:]}).encode(),
        json.dumps(GOOD | {"signature": 7}).encode(),
        json.dumps(GOOD | {"node_id": "nobody"}).encode(),
        json.dumps(GOOD | {"node_id": None}).encode(),
        json.dumps(GOOD | {"context": "a\0b"}).encode(),
    ],
)
def test_what_is_no_signature_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(ClusterError, match=r"message\.sig is not a signature of version 1"):
        decode(data, "message.sig")
