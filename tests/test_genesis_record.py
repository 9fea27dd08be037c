# SPDX-License-Identifier: Apache-2.0
"""A genesis record is believed by the signatures of a quorum, and by nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from agent.cluster import Credential, Genesis, Policy
from agent.errors import ClusterError
from agent.formation.genesis import (
    decode_genesis,
    encode_genesis,
    genesis_hash,
)
from agent.formation.messages import Accepted, encode_message
from agent.formation.record import (
    CONTEXT,
    GenesisRecord,
    decode_record,
    encode_record,
    open_record,
    signed_body,
    verify_record,
)
from agent.identity import identity_of_seed
from agent.signature import sign
from tests.forming_genesis import BALLOT, CREDENTIAL, founded_by
from tests.forming_material import NODES, SEEDS, make_credential


def record_of(genesis: Genesis, *signers: int, credential: Credential = CREDENTIAL) -> GenesisRecord:
    message = wire.pack(signed_body(credential.cluster_id, BALLOT, genesis_hash(genesis)))
    accepts = {NODES[i]: sign(SEEDS[i], CONTEXT, message).signature for i in sorted(signers)}
    return GenesisRecord(genesis, BALLOT, accepts)


def encoded(record: GenesisRecord) -> bytes:
    return encode_record(encode_genesis(record.genesis), record.ballot, record.accepts)


def test_the_largest_record_fits_into_a_blob() -> None:
    accepts = {identity_of_seed(i.to_bytes(32)).node_id: bytes(64) for i in range(501)}
    data = encode_record(encode_genesis(founded_by(5)), BALLOT, accepts)
    assert len(data) <= wire.MAX_BLOB
    assert len(decode_record(data).accepts) == 501


def test_machines_with_a_later_allowlist_still_know_their_genesis() -> None:
    before = make_credential(3, policy=Policy.ALLOWLIST, allowlist=NODES[:3])
    later = replace(before, allowlist=NODES[:5])
    record = record_of(founded_by(3, before), 0, 1, credential=before)
    assert open_record(encoded(record), later) == record


def test_a_record_with_a_quorum_of_signatures_is_believed() -> None:
    record = record_of(founded_by(3), 1, 2, 4)
    assert open_record(encoded(record), CREDENTIAL) == record
    assert record.hash == genesis_hash(record.genesis)


def test_a_record_without_a_quorum_is_refused() -> None:
    with pytest.raises(ClusterError, match="2 signatures that count; 3 are needed"):
        verify_record(record_of(founded_by(3), 0, 1), CREDENTIAL)


def test_signatures_of_nodes_that_are_not_listed_do_not_count() -> None:
    credential = make_credential(5, policy=Policy.ALLOWLIST, allowlist=NODES[:4])
    genesis = founded_by(3, credential)
    verify_record(record_of(genesis, 0, 1, 2, 7, credential=credential), credential)
    with pytest.raises(ClusterError, match="2 signatures that count"):
        verify_record(record_of(genesis, 0, 1, 7, credential=credential), credential)


def test_one_bad_signature_spoils_a_record() -> None:
    record = record_of(founded_by(3), 0, 1, 2, 3)
    forged = replace(record, accepts={**record.accepts, NODES[2]: record.accepts[NODES[1]]})
    with pytest.raises(ClusterError, match=f"node {NODES[2]} did not sign"):
        verify_record(forged, CREDENTIAL)


def test_signatures_for_another_ballot_or_genesis_are_not_taken() -> None:
    record = record_of(founded_by(3), 0, 1, 2)
    for changed in (replace(record, ballot=replace(BALLOT, round=4)), replace(record, genesis=founded_by(2))):
        with pytest.raises(ClusterError, match="signature"):
            verify_record(changed, CREDENTIAL)


def test_what_a_node_signs_is_the_message_that_it_sends() -> None:
    genesis = founded_by(3)
    sent = encode_message(SEEDS[1], CREDENTIAL.cluster_id, Accepted(BALLOT, genesis_hash(genesis)))
    assert record_of(genesis, 1).accepts[NODES[1]] == sent[1 + 32 : 1 + 96]


def test_a_founding_medium_signs_alone_for_itself() -> None:
    credential = make_credential(0)
    verify_record(record_of(founded_by(1, credential), 0, credential=credential), credential)
    with pytest.raises(ClusterError, match="its one founder"):
        verify_record(record_of(founded_by(1, credential), 1, credential=credential), credential)


@pytest.mark.parametrize(
    "change", [lambda a: a[::-1], lambda a: a[:1] * 3, lambda a: [a[0][:-1]], lambda a: 1]
)
def test_a_record_with_a_bad_list_of_signatures_is_refused(change: Callable[[list[bytes]], object]) -> None:
    body = wire.unpack(encoded(record_of(founded_by(3), 0, 1, 2)))
    with pytest.raises(ClusterError):
        decode_record(wire.pack({**body, "accepts": change(body["accepts"])}))


@given(st.data())
def test_a_changed_record_proves_nothing(data: st.DataObject) -> None:
    record = bytearray(encoded(record_of(founded_by(3), 0, 1, 2)))
    record[data.draw(st.integers(0, len(record) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ClusterError):
        open_record(bytes(record), CREDENTIAL)


@given(st.binary(max_size=200))
def test_garbage_is_no_genesis_and_no_record(data: bytes) -> None:
    for decode in (decode_genesis, decode_record):
        with pytest.raises(ClusterError):
            decode(data)
