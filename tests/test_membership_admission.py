# SPDX-License-Identifier: Apache-2.0
"""Joining: who is let in under which policy, and who never is."""

from dataclasses import replace

import pytest

from agent.cluster import Policy
from agent.membership import commands
from agent.membership.admission import Decision, Ruling, find_allowlist, judge
from agent.membership.join_request import STATES, JoinRequest
from agent.membership.ticket import Judged, TicketVerdict, judge_ticket, sign_ticket
from tests.small_cluster import (
    ADMISSION,
    CLUSTER,
    FOUNDERS,
    HARDWARE,
    NODES,
    OPERATOR,
    OTHER_HARDWARE,
    Log,
    admit,
    make_credential,
    make_genesis,
)

JOINER, STRANGER = NODES[4], NODES[5]
GOOD = TicketVerdict(Judged.GOOD)
EK = "0f" * 32
REQUEST = JoinRequest(
    JOINER, b"r" * 16, None, sign_ticket(OPERATOR, CLUSTER, b"n" * 16), HARDWARE[JOINER], "n-joiner"
)


def rule(
    log: Log,
    allowlist: tuple[str, ...] = (),
    *,
    ticket: TicketVerdict = GOOD,
    hardware: str = HARDWARE[JOINER],
    genesis: str | None = None,
    ek: str | None = None,
) -> Ruling:
    request = replace(REQUEST, hardware=hardware, genesis=genesis, ek=ek)
    return judge(request, log.ledger, ticket, allowlist)


def decide(
    log: Log, allowlist: tuple[str, ...] = (), *, hardware: str = HARDWARE[JOINER], ek: str | None = None
) -> Decision:
    return rule(log, allowlist, hardware=hardware, ek=ek).decision


def test_under_auto_who_has_a_good_ticket_is_admitted() -> None:
    assert decide(Log(make_genesis())) is Decision.ADMIT


def test_under_allowlist_who_is_listed_is_admitted_by_node_id_or_endorsement_key() -> None:
    log = Log(make_genesis(Policy.ALLOWLIST, (JOINER,)))
    assert decide(log, (JOINER,)) is Decision.ADMIT
    assert decide(log, (f"ek:{EK}",), ek=EK) is Decision.ADMIT
    assert decide(log, (f"ek:{EK}",), ek="00" * 32) is Decision.REFUSE
    assert decide(log, (STRANGER,)) is Decision.REFUSE
    assert decide(log) is Decision.REFUSE
    log.apply(commands.approve(JOINER))
    assert decide(log) is Decision.ADMIT


def test_under_approve_who_asks_is_pending_until_approved() -> None:
    log = Log(make_genesis(Policy.APPROVE))
    assert rule(log) == Ruling(Decision.PENDING, "it waits for an operator: node-agent approve")
    log.apply(commands.approve(JOINER))
    assert decide(log) is Decision.ADMIT
    log.apply(commands.forget(JOINER))
    assert decide(log) is Decision.PENDING


@pytest.mark.parametrize("policy", list(Policy))
def test_a_removed_node_stays_out_under_every_policy(policy: Policy) -> None:
    log = Log(make_genesis(policy))
    log.apply(commands.remove(JOINER))
    assert decide(log, (JOINER,)) is Decision.REMOVED
    assert decide(log, (JOINER,), hardware=OTHER_HARDWARE) is Decision.REMOVED


def test_a_removed_member_stays_out_with_its_old_request() -> None:
    log = Log(make_genesis()).admit(JOINER)
    assert decide(log) is Decision.ADMIT
    log.apply(commands.remove(JOINER))
    assert decide(log) is Decision.REMOVED


@pytest.mark.parametrize("policy", list(Policy))
def test_a_clone_is_quarantined_under_every_policy(policy: Policy) -> None:
    log = Log(make_genesis(policy, founders=(*FOUNDERS, JOINER)))
    ruling = rule(log, (JOINER,), hardware=OTHER_HARDWARE)
    assert ruling.decision is Decision.QUARANTINE
    assert HARDWARE[JOINER] in ruling.reason
    assert decide(log) is Decision.ADMIT


def test_a_new_board_is_admitted_once_an_operator_approved_that_board() -> None:
    log = Log(make_genesis()).admit(JOINER)
    log.apply(commands.approve(JOINER, OTHER_HARDWARE))
    assert decide(log, hardware=OTHER_HARDWARE) is Decision.ADMIT
    assert decide(log, hardware="eeeeeeeeeeee") is Decision.QUARANTINE
    log.apply(admit(log.ledger, JOINER, OTHER_HARDWARE))
    assert decide(log, hardware=OTHER_HARDWARE) is Decision.ADMIT
    assert decide(log) is Decision.QUARANTINE


def test_who_follows_another_genesis_is_refused() -> None:
    log = Log(make_genesis())
    assert rule(log, genesis=log.ledger.genesis).decision is Decision.ADMIT
    ruling = rule(log, genesis="00" * 32)
    assert ruling.decision is Decision.REFUSE
    assert "nothing is merged" in ruling.reason


def test_a_bad_ticket_is_refused_and_one_that_cannot_be_judged_yet_waits() -> None:
    log = Log(make_genesis())
    bad, unclear = TicketVerdict(Judged.BAD, "forged"), TicketVerdict(Judged.UNCLEAR, "no clock")
    assert rule(log, ticket=bad) == Ruling(Decision.REFUSE, "forged")
    assert rule(log, ticket=unclear) == Ruling(Decision.PENDING, "no clock")
    # An operator's word needs no clock, but makes no forged ticket good.
    approved = replace(log.ledger, approved=frozenset({JOINER}))
    assert judge(REQUEST, approved, unclear).decision is Decision.ADMIT
    assert judge(REQUEST, approved, bad).decision is Decision.REFUSE
    # What the ledger knows of a member does not hang on its ticket.
    log.admit(JOINER)
    assert rule(log, ticket=bad).decision is Decision.ADMIT


def test_a_ticket_of_the_admission_key_is_as_good_as_the_operators() -> None:
    genesis = make_genesis()
    ticket = sign_ticket(ADMISSION, CLUSTER, b"n" * 16, expires=1000)
    signers = [genesis.operator_key, genesis.admission_key]
    verdict = judge_ticket(ticket, CLUSTER, signers, 999.0, clock_synchronised=True)
    assert rule(Log(genesis), ticket=verdict).decision is Decision.ADMIT


def test_the_allowlist_of_the_genesis_counts_until_the_ledger_has_one() -> None:
    listed = (JOINER, f"ek:{EK}")
    genesis = make_genesis(Policy.ALLOWLIST, listed)
    log = Log(genesis)
    assert find_allowlist(log.ledger, genesis, make_credential(Policy.ALLOWLIST, listed)) == listed
    assert (
        find_allowlist(log.ledger, genesis, make_credential(Policy.ALLOWLIST, listed[::-1])) == listed[::-1]
    )
    # A credential that was changed on one node has no say.
    assert find_allowlist(log.ledger, genesis, make_credential(Policy.ALLOWLIST, (STRANGER,))) == ()
    log.apply(commands.settings(Policy.ALLOWLIST, (STRANGER,), 5))
    assert find_allowlist(log.ledger, genesis, make_credential(Policy.ALLOWLIST, listed)) == (STRANGER,)


def test_decisions_and_states_are_the_same_words() -> None:
    assert {decision.value for decision in Decision} == set(STATES)
