# SPDX-License-Identifier: Apache-2.0
"""The ledger: what each command does, and what it is refused for."""

from dataclasses import replace

import pytest

from agent import wire
from agent.cluster import Policy
from agent.errors import ClusterError
from agent.identity import identity_of_node_id, identity_of_seed
from agent.membership import commands
from agent.membership.addresses import assign_ipv4
from agent.membership.certificate import issue_certificate
from agent.membership.ledger import MAX_COMMAND, begin
from agent.membership.secrets import GOSSIP, open_sealed
from agent.service.duties import is_gossip_key_stale
from tests.small_cluster import (
    ADMISSION,
    FOUNDERS,
    GOSSIP_KEY,
    HARDWARE,
    NODES,
    OTHER_HARDWARE,
    RAFT_PASSWORD,
    SEEDS,
    Log,
    admit,
    certify,
    make_genesis,
)

JOINER, LATER = NODES[4], NODES[5]


@pytest.fixture
def log() -> Log:
    """A cluster of three founders, of policy auto."""
    return Log(make_genesis())


def test_a_cluster_begins_with_its_founders(log: Log) -> None:
    ledger = log.ledger
    assert tuple(ledger.members) == FOUNDERS
    assert ledger.voters == FOUNDERS
    assert {m.node_id: m.ipv4 for m in ledger.members.values()} == assign_ipv4("10.86.0.0/16", FOUNDERS)
    assert [m.hardware for m in ledger.members.values()] == [HARDWARE[node] for node in FOUNDERS]
    assert all(m.certificate is None and m.number == 0 for m in ledger.members.values())
    for node in FOUNDERS:
        assert open_sealed(SEEDS[node], ledger.secrets["admission"].sealed[node]) == ADMISSION


@pytest.mark.parametrize(("founders", "voters"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5)])
def test_the_first_voters_are_the_largest_odd_number_of_founders(founders: int, voters: int) -> None:
    ledger = begin(make_genesis(founders=NODES[:founders]))
    assert ledger.voters == NODES[:voters]
    assert tuple(ledger.secrets["admission"].sealed) == ledger.voters
    assert len(ledger.members) == founders


def test_no_more_than_the_wanted_voters_vote_at_first() -> None:
    assert begin(replace(make_genesis(), voters=1)).voters == FOUNDERS[:1]


def test_an_admitted_node_is_a_member_with_address_certificate_and_secrets(log: Log) -> None:
    log.admit(JOINER)
    member = log.ledger.members[JOINER]
    assert member.certificate == certify(log.ledger.genesis, JOINER)
    assert member.number == log.ledger.revision == 1
    assert member.ipv4 not in {log.ledger.members[node].ipv4 for node in FOUNDERS}
    seed = SEEDS[JOINER]
    assert open_sealed(seed, log.ledger.secrets["gossip"].sealed[JOINER]) == GOSSIP_KEY
    assert open_sealed(seed, log.ledger.secrets["raft"].sealed[JOINER]).decode() == RAFT_PASSWORD
    log.refuse(admit(log.ledger, JOINER), "is a member already")


def test_a_certificate_of_another_key_or_genesis_admits_nobody(log: Log) -> None:
    ledger = log.ledger
    foreign = issue_certificate(SEEDS[JOINER], ledger.genesis, JOINER, HARDWARE[JOINER])
    elsewhere = issue_certificate(ADMISSION, "00" * 32, JOINER, HARDWARE[JOINER])
    stolen = replace(certify(ledger.genesis, LATER), node_id=JOINER)
    for certificate in (foreign, elsewhere, stolen):
        command = commands.admit(certificate, ledger, gossip_key=GOSSIP_KEY, raft_password=RAFT_PASSWORD)
        log.refuse(command, "the certificate is forged")


def test_a_removed_node_never_returns(log: Log) -> None:
    replayed = admit(log.ledger, JOINER)
    log.apply(replayed)
    log.apply(commands.remove(JOINER))
    assert JOINER not in log.ledger.members
    assert log.ledger.removed == {JOINER: 2}
    for command in (replayed, admit(log.ledger, JOINER), commands.approve(JOINER)):
        log.refuse(command, "was removed, which is final")
    log.refuse(commands.approve(JOINER, OTHER_HARDWARE), "was removed, which is final")
    log.refuse(commands.remove(JOINER), "was removed already")


def test_removal_takes_vote_and_secrets(log: Log) -> None:
    gone = FOUNDERS[0]
    log.admit(JOINER)
    log.apply(commands.remove(gone))
    assert log.ledger.voters == FOUNDERS[1:]
    log.apply(commands.remove(JOINER))
    for secret in log.ledger.secrets.values():
        assert not {gone, JOINER} & secret.sealed.keys()


def test_a_node_that_only_asks_can_be_removed_too(log: Log) -> None:
    log.apply(commands.remove(JOINER))
    log.refuse(admit(log.ledger, JOINER), "was removed, which is final")


def test_neither_the_last_member_nor_the_last_voter_can_be_removed() -> None:
    log = Log(make_genesis(founders=NODES[:1]))
    log.refuse(commands.remove(NODES[0]), "is the last member")
    log.admit(JOINER)
    log.refuse(commands.remove(NODES[0]), "is the last voter")
    log.apply(commands.remove(JOINER))


def test_under_approve_only_who_was_approved_is_admitted() -> None:
    log = Log(make_genesis(Policy.APPROVE))
    log.refuse(admit(log.ledger, JOINER), "nobody approved")
    log.apply(commands.approve(JOINER))
    log.refuse(commands.approve(JOINER), "is approved already")
    log.admit(JOINER)
    assert not log.ledger.approved


def test_an_approval_for_one_hardware_is_none_for_another() -> None:
    log = Log(make_genesis(Policy.APPROVE))
    log.apply(commands.approve(JOINER, OTHER_HARDWARE))
    log.refuse(admit(log.ledger, JOINER), "nobody approved")
    log.apply(admit(log.ledger, JOINER, OTHER_HARDWARE))


def test_an_approval_can_be_taken_back() -> None:
    log = Log(make_genesis(Policy.APPROVE))
    log.apply(commands.approve(JOINER))
    log.apply(commands.approve(JOINER, OTHER_HARDWARE))
    log.apply(commands.forget(JOINER))
    log.refuse(admit(log.ledger, JOINER), "nobody approved")
    log.refuse(commands.forget(JOINER), "is not approved")


def test_a_member_gets_other_hardware_only_by_an_approval_that_names_it(log: Log) -> None:
    log.admit(JOINER)
    before = log.ledger.members[JOINER]
    swap = admit(log.ledger, JOINER, OTHER_HARDWARE)
    log.refuse(swap, "on other hardware, and nobody approved")
    log.refuse(commands.approve(JOINER), "is a member already")
    log.refuse(commands.approve(JOINER, HARDWARE[JOINER]), "is a member already")
    log.apply(commands.approve(JOINER, OTHER_HARDWARE))
    log.apply(swap)
    after = log.ledger.members[JOINER]
    assert (after.hardware, after.ipv4) == (OTHER_HARDWARE, before.ipv4)
    assert not log.ledger.approved
    # The approval served once: the original cannot come back by itself.
    log.refuse(admit(log.ledger, JOINER), "nobody approved")


def test_an_approval_without_hardware_does_not_bind_who_became_a_member_since(log: Log) -> None:
    log.apply(commands.approve(JOINER))
    log.admit(JOINER)
    log.refuse(admit(log.ledger, JOINER, OTHER_HARDWARE), "nobody approved")


def test_voters_change_one_at_a_time(log: Log) -> None:
    log.admit(JOINER, LATER)
    log.refuse(commands.set_voters([*FOUNDERS, JOINER, LATER]), "one at a time")
    log.refuse(commands.set_voters(FOUNDERS), "one at a time")
    log.refuse(commands.set_voters([*FOUNDERS[:2], JOINER]), "one at a time")
    log.apply(commands.set_voters([*FOUNDERS, JOINER]))
    log.apply(commands.set_voters([*FOUNDERS, JOINER, LATER]))
    assert log.ledger.voters == tuple(sorted([*FOUNDERS, JOINER, LATER]))
    log.admit(NODES[6])
    log.refuse(commands.set_voters([*log.ledger.voters, NODES[6]]), "more than 5 entries")


def test_only_members_vote_and_somebody_does(log: Log) -> None:
    log.refuse(commands.set_voters([*FOUNDERS, JOINER]), "is no member")
    log.apply(commands.set_voters(FOUNDERS[:2]))
    log.apply(commands.set_voters(FOUNDERS[:1]))
    log.refuse(commands.set_voters([]), "voters are 1 to 5 different members")


def test_voters_come_in_order(log: Log) -> None:
    keys = [identity_of_node_id(node).public_key for node in reversed(FOUNDERS[:2])]
    log.refuse(wire.pack({"c": "set_voters", "voters": keys}), "in order")


def test_recovery_begins_the_next_generation_with_the_survivors(log: Log) -> None:
    log.refuse(commands.recover(2, FOUNDERS[:1]), "is in generation 0")
    log.refuse(commands.recover(1, [JOINER]), "is no member")
    log.apply(commands.recover(1, FOUNDERS[:1]))
    assert (log.ledger.generation, log.ledger.voters) == (1, FOUNDERS[:1])
    assert tuple(log.ledger.members) == FOUNDERS
    log.refuse(commands.recover(1, FOUNDERS[:1]), "is in generation 1")


def test_nobody_is_admitted_without_secrets(log: Log) -> None:
    body = wire.unpack(admit(log.ledger, JOINER))
    body["secrets"] = body["secrets"][:1] * 2
    log.refuse(wire.pack(body), "needs the secrets gossip and raft")


def test_one_new_gossip_key_does_for_several_removals(log: Log) -> None:
    for node in FOUNDERS[1:]:
        log.apply(commands.remove(node))
    before = log.ledger
    assert is_gossip_key_stale(before)
    command = commands.put_secret(before, GOSSIP, bytes(32), before.members)
    log.apply(command)
    assert log.ledger.secrets[GOSSIP].version == 3
    assert not is_gossip_key_stale(log.ledger)
    log.refuse(command, "has version 3 by now")


def test_settings_change_the_policy(log: Log) -> None:
    log.refuse(commands.settings(Policy.ALLOWLIST, (), 3), "must have an entry")
    log.refuse(commands.settings(Policy.AUTO, (JOINER,), 3), "must be empty")
    log.refuse(commands.settings(Policy.ALLOWLIST, ("nonsense",), 3), "is not allowed")
    log.refuse(commands.settings(Policy.ALLOWLIST, (JOINER, JOINER), 3), "is not allowed")
    log.refuse(commands.settings(Policy.AUTO, (), 2), "is not allowed")
    log.apply(commands.settings(Policy.ALLOWLIST, (JOINER, "ek:" + "0f" * 32), 3))
    assert (log.ledger.policy, log.ledger.wanted_voters) == (Policy.ALLOWLIST, 3)
    assert log.ledger.settings == log.ledger.revision


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"\xff",
        wire.pack({}),
        wire.pack({"c": "nonsense"}),
        wire.pack({"c": "remove"}),
        wire.pack({"c": "remove", "node": b"\0" * 32}),
        wire.pack({"c": "remove", "node": FOUNDERS[0]}),
        wire.pack({"c": "remove", "node": identity_of_seed(b"\1" * 32).public_key, "more": 1}),
        wire.pack({"c": ["remove"]}),
        b"\x80" * (MAX_COMMAND + 1),
    ],
)
def test_a_malformed_command_changes_nothing(log: Log, command: bytes) -> None:
    log.refuse(command, "")


def test_a_command_that_is_too_long_is_not_made(log: Log) -> None:
    with pytest.raises(ClusterError, match="at most 4096 bytes"):
        commands.put_secret(log.ledger, "token", b"x" * 5000, FOUNDERS)
