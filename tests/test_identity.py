# SPDX-License-Identifier: Apache-2.0
"""The names of a node follow from its key, and nothing but a key has names."""

import base64
import hashlib

import base58
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from agent.identity import (
    identity_of_node_id,
    identity_of_public_key,
    identity_of_seed,
    wireguard_private_key,
)

seeds = st.binary(min_size=32, max_size=32)

# RFC 8032, 7.1, test 1.
RFC_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

# libsodium, test/default/ed25519_convert.c: the Curve25519 form of the same key.
WIREGUARD = base64.b64encode(
    bytes.fromhex("d85e07ec22b0ad881537c2f44d662d1a143cf830c57aca4305d85c7a90f6b62e")
).decode()


def test_the_public_key_is_that_of_the_rfc() -> None:
    assert identity_of_seed(RFC_SEED).public_key == RFC_PUBLIC


def test_names_of_a_known_key_never_change() -> None:
    identity = identity_of_seed(RFC_SEED)
    assert identity.node_id == "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z"
    assert identity.hostname == "n-fven3x669x"
    assert identity.wireguard_public_key == WIREGUARD


@given(seeds)
def test_the_node_id_alone_gives_all_public_names(seed: bytes) -> None:
    identity = identity_of_seed(seed)
    assert identity_of_node_id(identity.node_id) == identity
    assert base58.b58decode(identity.node_id) == identity.public_key


@given(seeds)
def test_peers_derive_the_wireguard_key_that_the_node_has(seed: bytes) -> None:
    private = X25519PrivateKey.from_private_bytes(wireguard_private_key(seed))
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    derived = identity_of_node_id(identity_of_seed(seed).node_id).wireguard_public_key
    assert base64.b64decode(derived, validate=True) == public


@given(seeds)
def test_the_wireguard_private_key_is_clamped_and_not_the_seed(seed: bytes) -> None:
    key = wireguard_private_key(seed)
    assert key != seed
    assert key[0] & 7 == 0
    assert key[31] & 0xC0 == 0x40


@given(seeds)
def test_the_fingerprint_is_that_of_openssh(seed: bytes) -> None:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    assert identity_of_seed(seed).fingerprint == "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@given(seeds)
def test_host_names_are_valid_dns_labels(seed: bytes) -> None:
    name = identity_of_seed(seed).hostname
    assert name[:2] == "n-"
    assert len(name) == 12
    assert name[2:].isalnum()
    assert name == name.lower()


NODE_ID = identity_of_seed(RFC_SEED).node_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        NODE_ID + " ",
        NODE_ID + "\n",
        " " + NODE_ID,
        "1" + NODE_ID,
        NODE_ID[:-1],
        NODE_ID[:-1] + "0",  # not in the alphabet
        NODE_ID.lower(),
        "1" * 32,  # a point of small order
        base58.b58encode(b"\1" + bytes(31)).decode(),  # the neutral element
        base58.b58encode(b"\xff" * 32).decode(),  # not on the curve
        "é" * 40,
        "z" * 100_000,
    ],
)
def test_what_is_not_a_node_id_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="is not a node ID"):
        identity_of_node_id(text)


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF), max_size=50))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    try:
        assert identity_of_node_id(text).node_id == text
    except ClusterError as error:
        assert "is not a node ID" in error.message


@given(st.binary(max_size=40))
def test_every_accepted_public_key_has_one_node_id(key: bytes) -> None:
    try:
        identity = identity_of_public_key(key)
    except ClusterError:
        return
    assert identity_of_node_id(identity.node_id).public_key == key
