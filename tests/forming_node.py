# SPDX-License-Identifier: Apache-2.0
"""One node that forms, and the messages that the tests hand it."""

from collections.abc import Iterable

from agent.cluster import Credential
from agent.formation import forming
from agent.formation.acceptor import State
from agent.formation.ballot import Ballot
from agent.formation.forming import Formation, Outcome
from agent.formation.genesis import encode_genesis, hash_encoded, make_genesis
from agent.formation.messages import (
    Accept,
    Accepted,
    Message,
    Promise,
    decode_message,
    encode_message,
)
from tests.forming_material import CLUSTER_ID, NODES, SEEDS, hardware_of, make_credential, make_peer

THREE = make_credential(3)
THEIRS = Ballot(4, NODES[1], hardware_of(1))
VALUE = encode_genesis(make_genesis(THREE, {NODES[i]: hardware_of(i) for i in range(2)}, bytes)[0])
PEERS = (make_peer(1), make_peer(2))


def node(index: int = 0, credential: Credential = THREE, state: State | None = None) -> Formation:
    return forming.begin(credential, SEEDS[index], hardware_of(index), state or State(), bytes)


def said_by(index: int, message: Message) -> bytes:
    return encode_message(SEEDS[index], CLUSTER_ID, message)


def message_in(data: bytes | None) -> Message:
    assert data is not None
    return decode_message(data, CLUSTER_ID).message


def proposing() -> Outcome:
    outcome = forming.tick(node(), PEERS, 10.0)
    assert outcome.formation.attempt is not None
    return outcome


def ballot_of(outcome: Outcome) -> Ballot:
    assert outcome.formation.attempt is not None
    return outcome.formation.attempt.ballot


def after(formation: Formation, answers: Iterable[tuple[int, Message]], now: float = 10.1) -> Outcome:
    outcome = Outcome(formation)
    for index, message in answers:
        outcome = forming.receive(outcome.formation, said_by(index, message), now)
    return outcome


def decided_record() -> tuple[bytes, str]:
    outcome = proposing()
    ballot = ballot_of(outcome)
    outcome = after(outcome.formation, [(i, Promise(ballot, hardware_of(i), None)) for i in (1, 2)])
    accept = message_in(outcome.broadcasts[0])
    assert isinstance(accept, Accept)
    outcome = after(outcome.formation, [(1, Accepted(ballot, hash_encoded(accept.value)))])
    assert outcome.decided is not None and outcome.formation.genesis is not None
    return outcome.decided, outcome.formation.genesis
