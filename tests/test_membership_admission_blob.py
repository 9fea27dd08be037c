# SPDX-License-Identifier: Apache-2.0
"""The admission: it proves itself by the credential alone, and nothing else makes a member."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import wire
from agent.cluster import Ledger
from agent.errors import ClusterError
from agent.formation.ballot import Ballot
from agent.formation.genesis import encode_genesis, genesis_hash
from agent.formation.record import CONTEXT as ACCEPTED
from agent.formation.record import encode_record, signed_body
from agent.identity import identity_of_node_id
from agent.membership.admission_blob import CONTEXT, open_admission, seal_admission
from agent.membership.certificate import issue_certificate
from agent.membership.secrets import NodeSecrets
from agent.signature import sign
from tests.small_cluster import (
    ADMISSION,
    CLUSTER,
    FOUNDERS,
    GOSSIP_KEY,
    HARDWARE,
    NODES,
    OTHER_HARDWARE,
    RAFT_PASSWORD,
    SEEDS,
    Log,
    make_credential,
    make_genesis,
)
from tests.wire_values import damage, wire_values

JOINER, STRANGER = NODES[4], NODES[5]
SEED = SEEDS[JOINER]
SECRETS = NodeSecrets(genesis_hash(make_genesis()), 1, GOSSIP_KEY, RAFT_PASSWORD, ADMISSION)
CREDENTIAL = make_credential()
ENDPOINTS = {FOUNDERS[0]: ["192.0.2.1:51820", "[2001:db8::1]:51820"]}


def make_record(signers: tuple[str, ...] = FOUNDERS) -> bytes:
    genesis = make_genesis()
    ballot = Ballot(1, FOUNDERS[0], HARDWARE[FOUNDERS[0]])
    message = wire.pack(signed_body(CLUSTER, ballot, genesis_hash(genesis)))
    accepts = {node: sign(SEEDS[node], ACCEPTED, message).signature for node in signers}
    return encode_record(encode_genesis(genesis), ballot, accepts)


def seal(
    ledger: Ledger, node_id: str = JOINER, voter: str = FOUNDERS[0], record: bytes | None = None
) -> bytes:
    return seal_admission(
        SEEDS[voter],
        node_id,
        record=record or make_record(),
        ledger=ledger,
        endpoints=ENDPOINTS,
        secrets=SECRETS,
    )


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """A cluster that has just admitted JOINER."""
    return Log(make_genesis()).admit(STRANGER, JOINER).ledger


def test_an_admission_gives_the_new_member_all_that_it_needs(ledger: Ledger) -> None:
    data = seal(ledger)
    admission = open_admission(data, CREDENTIAL, SEED, HARDWARE[JOINER])
    assert admission.genesis == make_genesis()
    assert admission.genesis_hash == ledger.genesis
    assert admission.record == make_record()
    assert admission.member == ledger.members[JOINER]
    assert [contact.member for contact in admission.voters] == [ledger.members[node] for node in FOUNDERS]
    assert admission.voters[0].endpoints == tuple(ENDPOINTS[FOUNDERS[0]])
    assert admission.secrets == replace(SECRETS, admission_seed=None)
    assert len(data) < wire.MAX_BLOB
    for secret in (GOSSIP_KEY, RAFT_PASSWORD.encode(), ADMISSION):
        assert secret not in data


def test_a_founder_that_lost_its_files_is_admitted_again_with_the_admission_seed(ledger: Ledger) -> None:
    founder = FOUNDERS[1]
    admission = open_admission(seal(ledger, founder), CREDENTIAL, SEEDS[founder], HARDWARE[founder])
    assert admission.secrets == SECRETS
    assert admission.member == ledger.members[founder]


def test_an_admission_of_somebody_else_makes_no_member(ledger: Ledger) -> None:
    data = seal(ledger, STRANGER)
    with pytest.raises(ClusterError, match="is for another node"):
        open_admission(data, CREDENTIAL, SEED, HARDWARE[JOINER])


def test_an_admission_to_other_hardware_makes_no_member(ledger: Ledger) -> None:
    with pytest.raises(ClusterError, match="on other hardware"):
        open_admission(seal(ledger), CREDENTIAL, SEED, OTHER_HARDWARE)


def test_an_admission_of_a_foreign_cluster_makes_no_member(ledger: Ledger) -> None:
    for change in ({"cluster_id": "b" * 26}, {"operator_key": identity_of_node_id(STRANGER).public_key}):
        with pytest.raises(ClusterError, match="than the join credential"):
            open_admission(seal(ledger), replace(CREDENTIAL, **change), SEED, HARDWARE[JOINER])


def test_a_genesis_without_a_quorum_makes_no_member(ledger: Ledger) -> None:
    with pytest.raises(ClusterError, match="2 signatures that count; 3 are needed"):
        open_admission(seal(ledger, record=make_record(FOUNDERS[:2])), CREDENTIAL, SEED, HARDWARE[JOINER])


def test_an_admission_signed_by_neither_voter_nor_founder_makes_no_member(ledger: Ledger) -> None:
    with pytest.raises(ClusterError, match="neither by a voter nor by a founder"):
        open_admission(seal(ledger, voter=STRANGER), CREDENTIAL, SEED, HARDWARE[JOINER])


def test_a_founder_without_a_vote_may_hand_out_what_was_decided(ledger: Ledger) -> None:
    """With two founders one votes, and only the other may have heard that both are a cluster."""
    unheard, proposer = FOUNDERS[0], FOUNDERS[1]
    one_voter = replace(ledger, voters=(unheard,))
    admission = open_admission(
        seal(one_voter, unheard, voter=proposer), CREDENTIAL, SEEDS[unheard], HARDWARE[unheard]
    )
    assert [contact.member.node_id for contact in admission.voters] == [unheard]


def reseal(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return the admission with something changed in its body, signed by the voter again."""
    body = wire.unpack(data[wire.OVERHEAD :])
    change(body)
    return wire.seal(SEEDS[FOUNDERS[0]], CONTEXT, body)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda body: body["self"].update(signature=b"\0" * 64), "forged"),
        (lambda body: body["self"].update(signature=None), "without a certificate"),
        (lambda body: body["self"].update(hardware=b"\xff" * 6), "forged"),
        (lambda body: body["self"].update(ipv4="10.87.0.1"), "not in 10.86.0.0/16"),
        (lambda body: body["self"].update(ipv4="10.86.0.0"), "not in 10.86.0.0/16"),
        (lambda body: body["self"].update(ipv4="nonsense"), "without an IPv4 address"),
        (lambda body: body["self"].update(ipv4=body["voters"][0]["ipv4"]), "or there twice"),
        (lambda body: body["voters"].clear(), "has no voters"),
        (lambda body: body["voters"].append(body["voters"][0]), "one of them twice"),
        (lambda body: body["voters"][1].update(hardware=b"\xff" * 6), "without a certificate"),
        (lambda body: body["voters"][1].update(node=b"\0" * 32), "not the public key of a node"),
        (lambda body: body.update(secrets=b"\0" * 100), "does not open"),
        (lambda body: body.update(more=1), "unknown field"),
        (lambda body: body["self"].update(endpoints=["x" * 65]), "1 to 64 characters"),
    ],
)
def test_a_changed_admission_makes_no_member(
    ledger: Ledger, change: Callable[[dict[str, Any]], None], what: str
) -> None:
    with pytest.raises(ClusterError, match=what):
        open_admission(reseal(seal(ledger), change), CREDENTIAL, SEED, HARDWARE[JOINER])


def test_an_admission_by_another_admission_key_makes_no_member(ledger: Ledger) -> None:
    log = Log(replace(make_genesis(), admission_key=identity_of_node_id(STRANGER).public_key))
    certificate = issue_certificate(SEEDS[STRANGER], ledger.genesis, JOINER, HARDWARE[JOINER])
    forged = replace(log.ledger.members[FOUNDERS[0]], node_id=JOINER, hardware=HARDWARE[JOINER])
    members = {**ledger.members, JOINER: replace(forged, certificate=certificate, ipv4="10.86.9.9")}
    with pytest.raises(ClusterError, match="the certificate is forged"):
        open_admission(seal(replace(ledger, members=members)), CREDENTIAL, SEED, HARDWARE[JOINER])


BLOB = seal(Log(make_genesis()).admit(JOINER).ledger)


@settings(deadline=None)
@given(st.data())
def test_garbage_and_damage_make_no_member(data: st.DataObject) -> None:
    with pytest.raises(ClusterError):
        open_admission(data.draw(damage(BLOB)), CREDENTIAL, SEED, HARDWARE[JOINER])


@settings(deadline=None)
@given(st.data())
def test_a_signed_admission_with_any_value_in_any_field_is_read_or_refused(data: st.DataObject) -> None:
    body: dict[str, Any] = wire.unpack(BLOB[wire.OVERHEAD :])
    target = data.draw(st.sampled_from([body, body["self"], *body["voters"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(wire_values)
    try:
        found = open_admission(
            wire.seal(SEEDS[FOUNDERS[0]], CONTEXT, body), CREDENTIAL, SEED, HARDWARE[JOINER]
        )
    except ClusterError:
        return
    assert found.member.node_id == JOINER
    assert found.genesis == make_genesis()
