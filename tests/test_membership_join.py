# SPDX-License-Identifier: Apache-2.0
"""Requests to join and their answers: who signed them, for what, and nothing else than was asked for."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import wire
from agent.errors import ClusterError
from agent.identity import identity_of_node_id
from agent.membership.join_request import (
    ANSWER_CONTEXT,
    CONTEXT,
    STATES,
    JoinAnswer,
    JoinRequest,
    open_answer,
    open_request,
    seal_answer,
    seal_request,
)
from agent.membership.ticket import sign_ticket
from tests.small_cluster import CLUSTER, FOUNDERS, HARDWARE, NODES, OPERATOR, OTHER_HARDWARE, SEEDS
from tests.wire_values import damage, wire_values

JOINER, STRANGER = NODES[4], NODES[5]
SEED, VOTER = SEEDS[JOINER], SEEDS[FOUNDERS[0]]
EK = "0f" * 32
REQUEST = JoinRequest(
    JOINER, b"r" * 16, None, sign_ticket(OPERATOR, CLUSTER, b"n" * 16), HARDWARE[JOINER], "n-joiner"
)


def test_a_request_survives_the_wire_and_fits_a_query() -> None:
    long = replace(
        REQUEST,
        genesis="ab" * 32,
        ek=EK,
        hostname="h" * 63,
        ticket=sign_ticket(OPERATOR, CLUSTER, b"n" * 16, expires=2**53, founder=True),
    )
    for request in (REQUEST, long):
        data = seal_request(SEED, request)
        assert open_request(data) == request
        assert len(data) <= wire.MAX_QUERY


def test_a_request_is_of_who_signed_it() -> None:
    data = seal_request(SEEDS[STRANGER], REQUEST)
    assert open_request(data).node_id == STRANGER
    claimed = identity_of_node_id(JOINER).public_key + data[32:]
    with pytest.raises(ClusterError, match="did not sign"):
        open_request(claimed)


def test_a_signature_for_another_purpose_is_no_request() -> None:
    body = wire.unpack(seal_request(SEED, REQUEST)[wire.OVERHEAD :])
    with pytest.raises(ClusterError, match="bad signature"):
        open_request(wire.seal(SEED, "cluster/tags", body))


ANSWER = JoinAnswer(FOUNDERS[0], "ab" * 32, "admitted", "it is a member", b"h" * 32, 2000)


def test_an_answer_survives_the_wire_and_counts_for_its_request_alone() -> None:
    request = seal_request(SEED, REQUEST)
    answers = [
        ANSWER,
        *(replace(ANSWER, state=s, blob=None, size=0, reason="r" * 300) for s in STATES),
    ]
    for answer in answers:
        data = seal_answer(VOTER, request, answer)
        assert open_answer(data, request) == answer
        assert len(data) <= wire.MAX_QUERY
        for other in (replace(REQUEST, nonce=b"q" * 16), replace(REQUEST, hardware=OTHER_HARDWARE)):
            with pytest.raises(ClusterError, match="another request"):
                open_answer(data, seal_request(SEED, other))


def test_an_answer_that_contradicts_itself_is_refused() -> None:
    request = seal_request(SEED, REQUEST)
    for wrong in (replace(ANSWER, size=0), replace(ANSWER, blob=None), replace(ANSWER, state="pending")):
        with pytest.raises(ClusterError, match="contradicts itself"):
            open_answer(seal_answer(VOTER, request, wrong), request)


@settings(deadline=None)
@given(st.data())
def test_garbage_and_damage_are_refused(data: st.DataObject) -> None:
    request = seal_request(SEED, REQUEST)
    with pytest.raises(ClusterError):
        open_request(data.draw(damage(request)))
    with pytest.raises(ClusterError):
        open_answer(data.draw(damage(seal_answer(VOTER, request, ANSWER))), request)


@settings(deadline=None)
@given(st.data())
def test_a_signed_request_with_any_value_in_any_field_is_read_or_refused(data: st.DataObject) -> None:
    body: dict[str, Any] = wire.unpack(seal_request(SEED, REQUEST)[wire.OVERHEAD :])
    target = data.draw(st.sampled_from([body, body["ticket"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(wire_values)
    sealed = wire.seal(SEED, CONTEXT, body)
    try:
        found = open_request(sealed)
    except ClusterError:
        return
    assert seal_request(SEED, found) == sealed


@settings(deadline=None)
@given(st.data())
def test_a_signed_answer_with_any_value_in_any_field_is_read_or_refused(data: st.DataObject) -> None:
    request = seal_request(SEED, REQUEST)
    body = wire.unpack(seal_answer(VOTER, request, ANSWER)[wire.OVERHEAD :])
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(wire_values)
    sealed = wire.seal(VOTER, ANSWER_CONTEXT, body)
    try:
        found = open_answer(sealed, request)
    except ClusterError:
        return
    assert seal_answer(VOTER, request, found) == sealed
