# SPDX-License-Identifier: Apache-2.0
"""The ledger as bytes: what comes back, what is refused, what is not in it."""

from dataclasses import replace

import pytest

from agent.cluster import Policy
from agent.errors import ClusterError
from agent.membership import commands
from agent.membership.ledger_file import check_ledger, decode_ledger, differs_durably, encode_ledger
from agent.membership.secrets import seal_for
from tests.small_cluster import (
    ADMISSION,
    FOUNDERS,
    GOSSIP_KEY,
    NODES,
    OTHER_HARDWARE,
    RAFT_PASSWORD,
    Log,
    make_genesis,
)

JOINER, LATER = NODES[4], NODES[5]


@pytest.fixture
def log() -> Log:
    """A cluster of three founders, of policy auto."""
    return Log(make_genesis())


def test_a_ledger_survives_its_file(log: Log) -> None:
    log.admit(JOINER, LATER)
    log.apply(commands.remove(LATER))
    log.apply(commands.approve(NODES[6], OTHER_HARDWARE))
    log.apply(commands.lease_grant(log.ledger, "web", JOINER))
    log.apply(commands.lease_grant(log.ledger, "mail", JOINER))
    log.apply(commands.lease_release("mail", JOINER, 1))
    log.apply(commands.put_secret(log.ledger, "web/key", b"1", FOUNDERS, role="web", epoch=1))
    log.apply(commands.settings(Policy.ALLOWLIST, (JOINER,), 3))
    ledger = decode_ledger(encode_ledger(log.ledger), "FILE")
    assert ledger == log.ledger
    check_ledger(ledger, log.genesis, ledger.genesis)


def test_a_ledger_that_cannot_be_is_refused(log: Log) -> None:
    log.admit(JOINER)
    good = log.ledger
    member = good.members[JOINER]
    assert member.certificate is not None
    forged = replace(member, certificate=replace(member.certificate, signature=b"\0" * 64))
    wrong = {
        "another cluster": replace(good, genesis="00" * 32),
        "no voters": replace(good, voters=()),
        "voters that are no members": replace(good, voters=(LATER,)),
        "were removed": replace(good, removed={JOINER: 1}),
        "one address": replace(
            good, members={**good.members, JOINER: replace(member, ipv4=good.members[FOUNDERS[0]].ipv4)}
        ),
        "forged": replace(good, members={**good.members, JOINER: forged}),
        "without a certificate": replace(
            good, members={**good.members, JOINER: replace(member, certificate=None)}
        ),
    }
    for reason, ledger in wrong.items():
        with pytest.raises(ClusterError, match=reason):
            check_ledger(ledger, log.genesis, good.genesis)


def test_leases_are_not_worth_a_write(log: Log) -> None:
    before = log.ledger
    log.apply(commands.lease_grant(log.ledger, "web", FOUNDERS[0]))
    assert not differs_durably(before, log.ledger)
    log.admit(JOINER)
    assert differs_durably(before, log.ledger)


def test_sealed_boxes_are_all_that_the_ledger_holds_of_secrets(log: Log) -> None:
    log.admit(JOINER)
    data = encode_ledger(log.ledger)
    for secret in (GOSSIP_KEY, RAFT_PASSWORD.encode(), ADMISSION):
        assert secret not in data
    assert seal_for(GOSSIP_KEY, [JOINER])[JOINER] not in data
