# SPDX-License-Identifier: Apache-2.0
"""The genesis says one thing, and fits into one query with all that goes with it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from agent.cluster import Genesis, Policy
from agent.errors import ClusterError
from agent.formation.ballot import Ballot, Vote, decode_ballot, encode_ballot
from agent.formation.genesis import (
    MAX_GENESIS,
    check_genesis,
    decode_genesis,
    digest_allowlist,
    encode_genesis,
    genesis_hash,
    make_genesis,
    open_admission_seed,
)
from agent.formation.messages import MAX_MESSAGE, Accept, Promise, encode_message
from agent.identity import identity_of_seed
from tests.forming_genesis import BALLOT, CREDENTIAL, founded_by, random
from tests.forming_material import NODES, SEEDS, hardware_of, make_credential


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_genesis_comes_back_as_it_was(count: int) -> None:
    genesis = founded_by(count)
    assert decode_genesis(encode_genesis(genesis)) == genesis


def test_a_genesis_is_of_the_cluster_that_the_credential_plans() -> None:
    genesis = founded_by(3)
    check_genesis(genesis, CREDENTIAL)
    assert genesis.founders == NODES[:3]
    assert genesis.hardware == tuple(hardware_of(i) for i in range(3))
    assert genesis.allowlist_digest == digest_allowlist(())
    assert (genesis.machines, genesis.voters, genesis.policy) == (5, 5, Policy.AUTO)


def test_the_hash_of_a_known_genesis_never_changes() -> None:
    boxes = tuple(bytes([i]) * 80 for i in range(3))
    assert genesis_hash(replace(founded_by(3), sealed=boxes)) == (
        "3912be37ad5899ff5a50e4b2dfb0b46bf1f9c39a0db70ad8fcf1ae00249a133e"
    )


def test_each_founder_and_nobody_else_opens_the_admission_seed() -> None:
    genesis, seed = make_genesis(CREDENTIAL, {NODES[i]: hardware_of(i) for i in range(3)}, random)
    assert identity_of_seed(seed).public_key == genesis.admission_key
    assert [open_admission_seed(genesis, SEEDS[i]) for i in range(5)] == [seed, seed, seed, None, None]
    assert seed not in encode_genesis(genesis)


def test_a_box_with_another_seed_is_told() -> None:
    genesis = replace(founded_by(3), admission_key=identity_of_seed(bytes(32)).public_key)
    with pytest.raises(ClusterError, match="another key than the admission key"):
        open_admission_seed(genesis, SEEDS[0])


def test_a_box_for_another_node_is_told() -> None:
    genesis = founded_by(3)
    with pytest.raises(ClusterError, match="does not open"):
        open_admission_seed(replace(genesis, sealed=genesis.sealed[::-1]), SEEDS[0])


def test_the_longest_genesis_fits_into_one_query_with_all_that_goes_with_it() -> None:
    credential = replace(
        make_credential(1000, voters=5, policy=Policy.ALLOWLIST, allowlist=NODES),
        name="n" * 32,
        ipv4_range="192.168.128.128/29",
    )
    value = encode_genesis(founded_by(5, credential))
    vote = Vote(replace(BALLOT, round=2**63 - 1), value)
    promise = encode_message(SEEDS[0], credential.cluster_id, Promise(vote.ballot, hardware_of(0), vote))
    accept = encode_message(SEEDS[0], credential.cluster_id, Accept(vote.ballot, value))
    assert len(value) <= MAX_GENESIS
    assert len(accept) < len(promise) <= MAX_MESSAGE


BAD_FOUNDERS = [
    ("out of order", lambda g: {"founders": g.founders[::-1]}),
    ("there twice", lambda g: {"founders": g.founders[:1] * 3}),
    ("0 founders", lambda g: {"founders": (), "hardware": (), "sealed": ()}),
    ("3 founders; 1 to 1", lambda g: {"voters": 1}),
    ("3 founders; 1 to 2", lambda g: {"machines": 2}),
    ("3 founders; 1 to 1", lambda g: {"machines": 0}),
]


@pytest.mark.parametrize(("why", "change"), BAD_FOUNDERS)
def test_a_genesis_that_contradicts_itself_is_refused(
    why: str, change: Callable[[Genesis], dict[str, Any]]
) -> None:
    genesis = founded_by(3)
    with pytest.raises(ClusterError, match=why):
        decode_genesis(encode_genesis(replace(genesis, **change(genesis))))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("a", bytes(32)),
        ("a", bytes(31)),
        ("c", "short"),
        ("f", [bytes(117)]),
        ("f", [bytes(118)] * 6),
        ("f", [bytes(118)]),
        ("i", bytes(15)),
        ("l", bytes(31)),
        ("m", 1001),
        ("m", -1),
        ("m", True),
        ("n", "a" * 33),
        ("n", "\x1b[31m"),
        ("o", bytes(33)),
        ("p", "none"),
        ("r", 7),
        ("v", 6),
        ("x", 1),
    ],
)
def test_a_genesis_with_a_bad_field_is_refused(field: str, value: object) -> None:
    body = wire.unpack(encode_genesis(founded_by(3)))
    with pytest.raises(ClusterError):
        decode_genesis(wire.pack({**body, field: value}))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("cluster id", {"cluster_id": "z" * 26}),
        ("name", {"name": "other"}),
        ("operator's key", {"operator_key": identity_of_seed(bytes(32)).public_key}),
        ("number of machines", {"machines": 7}),
        ("number of voters", {"voters": 3}),
        ("policy", {"policy": Policy.APPROVE}),
        ("IPv4 range", {"ipv4_range": "10.0.0.0/16"}),
    ],
)
def test_a_genesis_of_another_plan_is_refused_and_says_what_differs(
    what: str, change: dict[str, Any]
) -> None:
    with pytest.raises(ClusterError, match=what):
        check_genesis(replace(founded_by(3), **change), CREDENTIAL)


@given(st.data())
def test_a_changed_genesis_is_refused_or_another_one(data: st.DataObject) -> None:
    value = bytearray(encode_genesis(founded_by(3)))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        genesis = decode_genesis(bytes(value))
    except ClusterError:
        return
    assert genesis != founded_by(3)
    assert encode_genesis(genesis) == bytes(value)


@given(st.integers(1, 2**63 - 1), st.integers(0, 5))
def test_a_ballot_comes_back_as_it_was(round_: int, index: int) -> None:
    ballot = Ballot(round_, NODES[index], hardware_of(index))
    assert decode_ballot(encode_ballot(ballot), "a test") == ballot


@pytest.mark.parametrize("round_", [0, 2**63])
def test_a_ballot_with_a_round_that_is_none_is_refused(round_: int) -> None:
    with pytest.raises(ClusterError, match="not a ballot"):
        decode_ballot(round_.to_bytes(8) + encode_ballot(BALLOT)[8:], "a test")
