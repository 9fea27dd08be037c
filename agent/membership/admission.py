# SPDX-License-Identifier: Apache-2.0
"""Whether a node that asks is let in. Pure: what is known in, a ruling out.

A voter rules; what it rules takes effect by a command in the Raft log (commands.admit), which the ledger may
still refuse, and only then the node is told. Nothing here rests on wall time but a ticket that has an end
(agent/membership/ticket.py).
"""

from enum import Enum
from typing import NamedTuple

from agent.cluster import Credential, Genesis, Ledger, Policy
from agent.formation.genesis import digest_allowlist
from agent.membership.join_request import JoinRequest
from agent.membership.ledger_members import is_approved
from agent.membership.ticket import Judged, TicketVerdict


class Decision(Enum):
    """What becomes of a request; its value is the word in the answer."""

    ADMIT = "admitted"
    PENDING = "pending"  # an operator, or time, may still let it in
    REFUSE = "refused"
    REMOVED = "removed"  # for good
    QUARANTINE = "quarantined"  # a member's key on other hardware: a clone, or a new board


class Ruling(NamedTuple):
    """A decision and its reason, in words for the console of the node that asked."""

    decision: Decision
    reason: str


def judge(
    request: JoinRequest, ledger: Ledger, ticket: TicketVerdict, allowlist: tuple[str, ...] = ()
) -> Ruling:
    """Return what becomes of a request, whose signature was good and whose ticket is worth `ticket`.

    `allowlist` is that of `find_allowlist`. A member that asks again, as it lost what it was told, is
    admitted again whatever the policy says by now: the ledger has it already. Whom an operator approved waits
    for no clock.
    """
    node_id, hardware = request.node_id, request.hardware
    if request.genesis not in (None, ledger.genesis):
        return Ruling(Decision.REFUSE, "it follows another cluster with the same id: nothing is merged")
    if node_id in ledger.removed:
        return Ruling(Decision.REMOVED, "it was removed, which is final: wipe /var to make it a new node")
    approved = is_approved(ledger, node_id, hardware)
    member = ledger.members.get(node_id)
    if member is not None:
        if member.hardware == hardware:
            return Ruling(Decision.ADMIT, "it is a member")
        if approved:
            return Ruling(Decision.ADMIT, "an operator approved its new hardware")
        return Ruling(
            Decision.QUARANTINE,
            f"the member with its key is on hardware {member.hardware}: wipe /var if this is a copied disk; "
            "for a new board: node-agent approve",
        )
    if ticket.judged is Judged.BAD:
        return Ruling(Decision.REFUSE, ticket.reason)
    if approved:
        return Ruling(Decision.ADMIT, "an operator approved it")
    if ticket.judged is Judged.UNCLEAR:
        return Ruling(Decision.PENDING, ticket.reason)
    if ledger.policy is Policy.AUTO:
        return Ruling(Decision.ADMIT, "the policy is auto")
    if ledger.policy is Policy.APPROVE:
        return Ruling(Decision.PENDING, "it waits for an operator: node-agent approve")
    if node_id in allowlist or (request.ek is not None and f"ek:{request.ek}" in allowlist):
        return Ruling(Decision.ADMIT, "it is on the allowlist")
    return Ruling(Decision.REFUSE, "it is not on the allowlist: node-agent approve lets it in once")


def find_allowlist(ledger: Ledger, genesis: Genesis, credential: Credential) -> tuple[str, ...]:
    """Return the allowlist that counts: the ledger's, or until one was set there the one of the genesis.

    Of that one the genesis has the digest only, the voter's own credential the entries. With another list in
    the credential nobody is on the list, until the ledger is given one.
    """
    if ledger.settings:
        return ledger.allowlist
    if digest_allowlist(credential.allowlist) != genesis.allowlist_digest:
        return ()
    return credential.allowlist
