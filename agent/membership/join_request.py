# SPDX-License-Identifier: Apache-2.0
"""The request to be a member, and the answer to it: Serf query `cos-join`. Pure.

Request, signed by the node in the context `cluster/join`: `nonce` (16 bytes), `genesis` (32 bytes, or nil:
it follows none), `ticket` (agent/membership/ticket.py), `hardware` (6 bytes), `hostname`, `ek` (32 bytes:
SHA-256 of its TPM's endorsement key, or nil). The signature proves that it holds its node key; the `ek` is
not proved.

Answer, signed by a voter in the context `cluster/join-answer`: `request` (the SHA-256 of the request, so that
an old answer, or one to somebody else, counts for nothing), `genesis` (32 bytes, of the voter), `state`,
`reason`, `blob` (SHA-256 of the admission, or nil) and its `size` in bytes.

An answer alone makes no member and stops no node for good: anybody with the gossip key can give one. What
makes a member is the admission (agent/membership/admission_blob.py), which proves itself.
"""

from dataclasses import dataclass

from agent import wire
from agent.cluster import Ticket
from agent.errors import ClusterError
from agent.membership.ticket import of_fields, to_body

CONTEXT = "cluster/join"
ANSWER_CONTEXT = "cluster/join-answer"
NONCE_BYTES = 16
STATES = ("admitted", "pending", "refused", "removed", "quarantined")
MAX_REASON = 300
_HASH = 32


@dataclass(frozen=True)
class JoinRequest:
    """What a node says that wants to be a member."""

    node_id: str
    nonce: bytes  # 16 bytes, new for each request
    genesis: str | None  # hash of the one that it follows, 64 hexadecimal digits
    ticket: Ticket
    hardware: str  # 12 hexadecimal digits
    hostname: str
    ek: str | None = None  # SHA-256 of its TPM's endorsement key, 64 hexadecimal digits; not proved


@dataclass(frozen=True)
class JoinAnswer:
    """What a voter says to that."""

    node_id: str  # of the voter
    genesis: str
    state: str  # one of STATES, the values of admission.Decision
    reason: str
    blob: bytes | None  # SHA-256 of the admission
    size: int  # of the admission in bytes; 0 without one


def seal_request(seed: bytes, request: JoinRequest) -> bytes:
    """Return the request, signed with the node's key; at most wire.MAX_QUERY bytes."""
    return wire.seal(
        seed,
        CONTEXT,
        {
            "nonce": request.nonce,
            "genesis": bytes.fromhex(request.genesis) if request.genesis else None,
            "ticket": to_body(request.ticket),
            "hardware": bytes.fromhex(request.hardware),
            "hostname": request.hostname,
            "ek": bytes.fromhex(request.ek) if request.ek else None,
        },
    )


def open_request(data: bytes) -> JoinRequest:
    """Return the request in `data`; ClusterError when it is none, or not signed by the node that it names."""
    node_id, body = wire.open(data, CONTEXT, wire.MAX_QUERY)
    fields = wire.Fields(body, "a request to join")
    request = JoinRequest(
        node_id=node_id,
        nonce=fields.bytes("nonce", exactly=NONCE_BYTES),
        genesis=None if fields.nil("genesis") else fields.hexadecimal("genesis", exactly=_HASH),
        ticket=of_fields(fields.map("ticket")),
        hardware=fields.hexadecimal("hardware", exactly=6),
        hostname=fields.text("hostname", max=63),
        ek=None if fields.nil("ek") else fields.hexadecimal("ek", exactly=_HASH),
    )
    fields.done()
    return request


def seal_answer(seed: bytes, request: bytes, answer: JoinAnswer) -> bytes:
    """Return the answer to the sealed `request`, signed with the voter's key."""
    return wire.seal(
        seed,
        ANSWER_CONTEXT,
        {
            "request": wire.digest(ANSWER_CONTEXT, request),
            "genesis": bytes.fromhex(answer.genesis),
            "state": answer.state,
            "reason": answer.reason,
            "blob": answer.blob,
            "size": answer.size,
        },
    )


def open_answer(data: bytes, request: bytes) -> JoinAnswer:
    """Return the answer in `data` to our own sealed `request`; ClusterError when it is none."""
    node_id, body = wire.open(data, ANSWER_CONTEXT, wire.MAX_QUERY)
    fields = wire.Fields(body, "an answer to a request to join")
    if fields.bytes("request", exactly=_HASH) != wire.digest(ANSWER_CONTEXT, request):
        raise ClusterError("an answer to another request to join")
    answer = JoinAnswer(
        node_id=node_id,
        genesis=fields.hexadecimal("genesis", exactly=_HASH),
        state=fields.choice("state", STATES),
        reason=fields.text("reason", max=MAX_REASON),
        blob=None if fields.nil("blob") else fields.bytes("blob", exactly=_HASH),
        size=fields.integer("size", 0, wire.MAX_BLOB),
    )
    fields.done()
    if (answer.blob is None) != (answer.size == 0) or (answer.blob and answer.state != STATES[0]):
        raise ClusterError("an answer to a request to join contradicts itself")
    return answer
