# SPDX-License-Identifier: Apache-2.0
"""Tickets: permissions to join, with or without an end. Pure.

What is signed, in the context `cluster/ticket`, is a body of agent/wire.py with `cluster`, `nonce`, `expires`
and `founder`. The operator's key signs the tickets of `./build.py cluster`, the cluster's admission key those
of `node-agent token`.
"""

from collections.abc import Collection
from enum import Enum
from typing import Any, NamedTuple

from agent import wire
from agent.cluster import Ticket
from agent.errors import ClusterError
from agent.node_ids import node_id_of, public_key_of
from agent.signature import Signature, sign, verify

CONTEXT = "cluster/ticket"
NONCE_BYTES = 16
_LATEST = 2**53


class Judged(Enum):
    GOOD = "good"
    UNCLEAR = "unclear"  # it has an end, and our own clock cannot be trusted yet
    BAD = "bad"


class TicketVerdict(NamedTuple):
    """What a ticket is worth, and why not, in words for a person."""

    judged: Judged
    reason: str = ""


def sign_ticket(
    seed: bytes, cluster_id: str, nonce: bytes, *, expires: int | None = None, founder: bool = False
) -> Ticket:
    """Return a ticket signed by the key of `seed` (32 bytes); `expires` in Unix seconds, None for never."""
    signature = sign(seed, CONTEXT, _message(cluster_id, nonce, expires, founder))
    signer = public_key_of(signature.node_id)
    return Ticket(cluster_id, nonce, expires, founder, signer, signature.signature)


def verify_ticket(ticket: Ticket) -> None:
    """Raise ClusterError unless the ticket is signed by the key that it names."""
    signer = node_id_of(ticket.signer)
    message = _message(ticket.cluster_id, ticket.nonce, ticket.expires, ticket.founder)
    verify(Signature(signer, CONTEXT, ticket.signature), CONTEXT, message)


def judge_ticket(
    ticket: Ticket, cluster_id: str, signers: Collection[bytes], now_wall: float, *, clock_synchronised: bool
) -> TicketVerdict:
    """Return what the ticket is worth in the cluster `cluster_id`, whose tickets the keys `signers` sign.

    `now_wall` (Unix seconds) counts only for a ticket with an end, and only once the clock is synchronised.
    """
    if ticket.cluster_id != cluster_id:
        return TicketVerdict(Judged.BAD, "the ticket is one of another cluster")
    if ticket.signer not in signers:
        return TicketVerdict(Judged.BAD, "the ticket is signed by a key that has no say in this cluster")
    try:
        verify_ticket(ticket)
    except ClusterError:
        return TicketVerdict(Judged.BAD, "the ticket is forged: its signature is wrong")
    if ticket.expires is None:
        return TicketVerdict(Judged.GOOD)
    if not clock_synchronised:
        return TicketVerdict(
            Judged.UNCLEAR, "cannot judge yet: the ticket has an end, and the clock here is not synchronised"
        )
    if now_wall >= ticket.expires:
        return TicketVerdict(
            Judged.BAD, "the ticket has ended: issue a new one with ./build.py cluster token"
        )
    return TicketVerdict(Judged.GOOD)


def to_body(ticket: Ticket) -> dict[str, Any]:
    """Return the ticket as a part of a message."""
    return {
        "cluster": ticket.cluster_id,
        "nonce": ticket.nonce,
        "expires": ticket.expires,
        "founder": ticket.founder,
        "signer": ticket.signer,
        "signature": ticket.signature,
    }


def of_fields(fields: wire.Fields) -> Ticket:
    """Return the ticket in a part of a message; ClusterError when it is none. Not yet verified."""
    ticket = Ticket(
        cluster_id=fields.text("cluster", min=26, max=26),
        nonce=fields.bytes("nonce", exactly=NONCE_BYTES),
        expires=None if fields.nil("expires") else fields.integer("expires", 0, _LATEST),
        founder=fields.boolean("founder"),
        signer=public_key_of(fields.node("signer")),
        signature=fields.bytes("signature", exactly=wire.SIGNATURE_BYTES),
    )
    fields.done()
    return ticket


def _message(cluster_id: str, nonce: bytes, expires: int | None, founder: bool) -> bytes:
    return wire.pack({"cluster": cluster_id, "nonce": nonce, "expires": expires, "founder": founder})
