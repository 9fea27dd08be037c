# SPDX-License-Identifier: Apache-2.0
"""Certificates and secrets: whom they are for, who made them, and that damage is noticed."""

import hashlib
import hmac
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.membership.certificate import issue_certificate, verify_certificate
from agent.membership.secrets import (
    MAX_SECRET,
    SEALED_OVERHEAD,
    NodeSecrets,
    decode_at_rest,
    derive_raft_password,
    encode_at_rest,
    open_sealed,
    seal_for,
)

ADMISSION, SEED, OTHER = b"\1" * 32, b"\2" * 32, b"\3" * 32
ADMISSION_KEY = identity_of_seed(ADMISSION).public_key
NODE, STRANGER = (identity_of_seed(seed).node_id for seed in (SEED, OTHER))
GENESIS, HARDWARE = "ab" * 32, "0123456789ab"
KEPT = NodeSecrets(
    GENESIS, 3, b"gossip key of thirty-two bytes..", "R" * 43 + "=", b"admission seed, thirty-two bytes"
)


def test_a_certificate_holds_for_its_genesis_node_and_hardware_alone() -> None:
    certificate = issue_certificate(ADMISSION, GENESIS, NODE, HARDWARE)
    verify_certificate(certificate, GENESIS, ADMISSION_KEY)
    with pytest.raises(ClusterError, match="another cluster"):
        verify_certificate(certificate, "cd" * 32, ADMISSION_KEY)
    changes: list[dict[str, Any]] = [
        {"node_id": STRANGER},
        {"hardware": "0" * 12},
        {"signature": b"\0" * 64},
        {"signature": b""},
    ]
    for change in changes:
        with pytest.raises(ClusterError, match="forged"):
            verify_certificate(replace(certificate, **change), GENESIS, ADMISSION_KEY)
    with pytest.raises(ClusterError, match="forged"):
        verify_certificate(certificate, GENESIS, identity_of_seed(OTHER).public_key)


def test_a_sealed_secret_opens_for_its_node_alone() -> None:
    boxes = seal_for(b"shared", [NODE, STRANGER])
    assert set(boxes) == {NODE, STRANGER}
    assert all(len(box) == len(b"shared") + SEALED_OVERHEAD for box in boxes.values())
    assert open_sealed(SEED, boxes[NODE]) == b"shared"
    assert open_sealed(OTHER, boxes[STRANGER]) == b"shared"
    with pytest.raises(ClusterError, match="does not open"):
        open_sealed(SEED, boxes[STRANGER])


def test_a_secret_that_is_too_long_is_refused() -> None:
    assert len(seal_for(b"x" * MAX_SECRET, [NODE])) == 1
    with pytest.raises(ClusterError, match="at most 4096 bytes"):
        seal_for(b"x" * (MAX_SECRET + 1), [NODE])


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_garbage_opens_as_no_secret(box: bytes) -> None:
    with pytest.raises(ClusterError):
        open_sealed(SEED, box)


def test_the_raft_password_follows_from_the_admission_seed() -> None:
    wanted = hmac.new(ADMISSION, b"cluster-os raft", hashlib.sha256).digest()
    assert derive_raft_password(ADMISSION) == b64encode(wanted).decode()


@pytest.mark.parametrize("kept", [KEPT, replace(KEPT, admission_seed=None)])
def test_secrets_at_rest_open_with_the_key_of_the_node_alone(kept: NodeSecrets) -> None:
    data = encode_at_rest(kept, SEED)
    assert decode_at_rest(data, SEED, "FILE") == kept
    assert kept.gossip_key not in data
    assert b"admission" not in data
    with pytest.raises(ClusterError, match="FILE is damaged, or belongs to another node"):
        decode_at_rest(data, OTHER, "FILE")


def test_secrets_do_not_show() -> None:
    assert "gossip key" not in repr(KEPT)
    assert "RRR" not in repr(KEPT)
    assert "admission seed" not in repr(KEPT)


@settings(deadline=None)
@given(st.integers(min_value=0), st.integers(1, 255))
def test_each_damaged_byte_is_noticed(place: int, mask: int) -> None:
    data = bytearray(encode_at_rest(KEPT, SEED))
    data[place % len(data)] ^= mask
    with pytest.raises(ClusterError):
        decode_at_rest(bytes(data), SEED, "FILE")


@settings(deadline=None)
@given(st.integers(0, 300), st.binary(max_size=300))
def test_a_cut_or_foreign_file_is_refused(size: int, garbage: bytes) -> None:
    data = encode_at_rest(KEPT, SEED)
    for wrong in (data[: size % len(data)], garbage, data[:21] + garbage, data + b"\0"):
        with pytest.raises(ClusterError):
            decode_at_rest(wrong, SEED, "FILE")
