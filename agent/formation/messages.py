# SPDX-License-Identifier: Apache-2.0
"""What nodes say to each other while they form a cluster. Pure.

A message is one letter for its kind and an envelope of agent/wire.py in the context of that kind, at most
MAX_MESSAGE bytes. All hold `b`, the ballot that they are about, and `c`, the cluster id.

    kind  context                  travels as       holds besides
    p     cluster/form-prepare     query `cos-form`
    P     cluster/form-promise     answer           h: hardware fingerprint; v: nil, or the vote's genesis,
                                                    and w: its ballot
    a     cluster/form-accept      query `cos-form` v: an encoded genesis
    A     cluster/form-accepted    answer           g: hash of the genesis
    n     cluster/form-nack        answer           w: the ballot that was promised instead
    f     cluster/form-formed      answer           g: hash of the genesis that the sender follows, or sees
    d     cluster/form-decided     query `cos-form` s: the public keys and signatures of a quorum that voted

Prepare, accept and decided are taken from the owner of the ballot only. Old messages may come again at any
time: the ballot tells what they are about, and Paxos takes them in any order.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agent import wire
from agent.errors import ClusterError
from agent.formation.ballot import (
    BALLOT_BYTES,
    HARDWARE_BYTES,
    Ballot,
    Vote,
    decode_ballot,
    encode_ballot,
)
from agent.formation.genesis import HASH_BYTES, MAX_GENESIS
from agent.formation.record import CONTEXT as ACCEPTED_CONTEXT
from agent.formation.record import encode_accepts, read_accepts, signed_body

MAX_MESSAGE = 1130
MAX_ACCEPTS = 8
"""So many signatures fit into a message."""
_WHERE = "a message of forming"


@dataclass(frozen=True)
class Prepare:
    ballot: Ballot


@dataclass(frozen=True)
class Promise:
    ballot: Ballot
    hardware: str
    vote: Vote | None


@dataclass(frozen=True)
class Accept:
    ballot: Ballot
    value: bytes


@dataclass(frozen=True)
class Accepted:
    ballot: Ballot
    value_hash: str


@dataclass(frozen=True)
class Nack:
    ballot: Ballot
    promised: Ballot


@dataclass(frozen=True)
class Formed:
    ballot: Ballot
    genesis: str


@dataclass(frozen=True)
class Decided:
    """Proof that the value of the ballot was decided, for those who voted in it and so have the value."""

    ballot: Ballot
    accepts: Mapping[str, bytes]  # node ID -> signature of its Accepted


Message = Prepare | Promise | Accept | Accepted | Nack | Formed | Decided

_KINDS: dict[bytes, tuple[type[Message], str]] = {
    b"p": (Prepare, "cluster/form-prepare"),
    b"P": (Promise, "cluster/form-promise"),
    b"a": (Accept, "cluster/form-accept"),
    b"A": (Accepted, ACCEPTED_CONTEXT),
    b"n": (Nack, "cluster/form-nack"),
    b"f": (Formed, "cluster/form-formed"),
    b"d": (Decided, "cluster/form-decided"),
}
_KIND_OF = {kind: (letter, context) for letter, (kind, context) in _KINDS.items()}


@dataclass(frozen=True)
class Received:
    sender: str
    message: Message
    signature: bytes


def encode_message(seed: bytes, cluster_id: str, message: Message) -> bytes:
    """Return the message, signed by the node of `seed`."""
    letter, context = _KIND_OF[type(message)]
    return letter + wire.seal(seed, context, _body(cluster_id, message))


def decode_message(data: bytes, cluster_id: str) -> Received:
    """Return the message in `data`, and who signed it; ClusterError when it is none of this cluster."""
    if len(data) > MAX_MESSAGE or data[:1] not in _KINDS:
        raise ClusterError(f"{_WHERE} is of no known kind, or longer than {MAX_MESSAGE} bytes")
    kind, context = _KINDS[data[:1]]
    sender, body = wire.open(data[1:], context, MAX_MESSAGE)
    fields = wire.Fields(body, _WHERE)
    if fields.text("c", max=26) != cluster_id:
        raise ClusterError(f"{_WHERE} is one of another cluster")
    message = _message(kind, fields)
    fields.done()
    if isinstance(message, Prepare | Accept | Decided) and message.ballot.node_id != sender:
        raise ClusterError(f"{_WHERE} is about a ballot that is not its sender's")
    return Received(sender, message, data[1 + wire.PUBLIC_KEY_BYTES : 1 + wire.OVERHEAD])


def _body(cluster_id: str, message: Message) -> dict[str, object]:
    body: dict[str, object] = {"b": encode_ballot(message.ballot), "c": cluster_id}
    match message:
        case Promise(_, hardware, vote):
            body |= {"h": bytes.fromhex(hardware), "v": vote.value if vote else None}
            body |= {"w": encode_ballot(vote.ballot) if vote else None}
        case Accept(_, value):
            body |= {"v": value}
        case Accepted(ballot, value_hash):
            body = signed_body(cluster_id, ballot, value_hash)
        case Nack(_, promised):
            body |= {"w": encode_ballot(promised)}
        case Formed(_, genesis):
            body |= {"g": bytes.fromhex(genesis)}
        case Decided(_, accepts):
            body |= {"s": encode_accepts(accepts)}
    return body


def _message(kind: type[Message], fields: wire.Fields) -> Message:
    ballot = _ballot(fields, "b")
    if kind is Promise:
        hardware = fields.hexadecimal("h", exactly=HARDWARE_BYTES)
        # Both are asked for, so that neither stays unread.
        without_value, without_ballot = fields.nil("v"), fields.nil("w")
        if without_value and without_ballot:
            return Promise(ballot, hardware, None)
        return Promise(ballot, hardware, Vote(_ballot(fields, "w"), fields.bytes("v", max=MAX_GENESIS)))
    if kind is Accept:
        return Accept(ballot, fields.bytes("v", max=MAX_GENESIS))
    if kind is Accepted:
        return Accepted(ballot, fields.hexadecimal("g", exactly=HASH_BYTES))
    if kind is Nack:
        return Nack(ballot, _ballot(fields, "w"))
    if kind is Formed:
        return Formed(ballot, fields.hexadecimal("g", exactly=HASH_BYTES))
    if kind is Decided:
        return Decided(ballot, read_accepts(fields, "s", MAX_ACCEPTS, _WHERE))
    return Prepare(ballot)


def _ballot(fields: wire.Fields, name: str) -> Ballot:
    return decode_ballot(fields.bytes(name, exactly=BALLOT_BYTES), f"{_WHERE}: field {name!r}")
