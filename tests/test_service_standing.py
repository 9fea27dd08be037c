# SPDX-License-Identifier: Apache-2.0
"""Where a node stands by what it has and sees, who may tell it that it was removed, what recovery drops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from agent.cluster import Ledger, Peer, Phase
from agent.errors import ClusterError
from agent.membership import commands
from agent.membership.ledger import begin
from agent.membership.secrets import NodeSecrets
from agent.node_ids import public_key_of
from agent.service import farewell
from agent.service.membership import Membership
from agent.service.phase import Standing, Verdict, find_standing
from agent.service.recovery import RecoveryPlan, apply_recovery, plan_recovery
from tests.small_cluster import (
    ADMISSION,
    FOUNDERS,
    GOSSIP_KEY,
    HARDWARE,
    NODES,
    OPERATOR,
    OTHER_HARDWARE,
    RAFT_PASSWORD,
    SEEDS,
    Log,
    make_credential,
    make_genesis,
)

ME, OTHER = FOUNDERS[0], FOUNDERS[1]
GENESIS, FOREIGN = begin(make_genesis()).genesis, "f" * 64
ANY_BYTES = st.binary(max_size=300)


def make_peer(
    node_id: str = OTHER, *, genesis: str | None = None, alive: bool = True, phase: Phase = Phase.MEMBER
) -> Peer:
    hardware = HARDWARE[node_id]
    return Peer(
        name=f"{node_id}.{hardware}",
        node_id=node_id,
        hardware=hardware,
        address="10.55.0.1",
        alive=alive,
        phase=phase.value,
        genesis=genesis,
        wireguard_port=51820,
        addresses=(),
        voter=True,
        seen=0.0,
    )


def make_membership(ledger: Ledger | None = None) -> Membership:
    secrets = NodeSecrets(GENESIS, 1, GOSSIP_KEY, RAFT_PASSWORD, ADMISSION)
    return Membership(b"", make_genesis(), ledger or begin(make_genesis()), secrets)


def stand(*peers: Peer, **known: object) -> Standing:
    given = {"credential": make_credential(), "membership": None, "verdict": None, **known}
    return find_standing(ME, HARDWARE[ME], peers=peers, **given)  # type: ignore[arg-type]


def test_a_node_that_sees_a_cluster_founds_none() -> None:
    assert stand().phase is Phase.FORMING
    assert stand(make_peer(phase=Phase.FORMING)).phase is Phase.FORMING
    seen = stand(make_peer(genesis=GENESIS))
    assert (seen.phase, seen.seeks) == (Phase.JOINING, True)
    # What nodes follow that are gone holds nobody up.
    assert stand(make_peer(genesis=GENESIS, alive=False)).phase is Phase.FORMING


def test_a_node_that_sees_two_clusters_joins_none_and_says_which() -> None:
    seen = stand(make_peer(genesis=GENESIS), make_peer(FOUNDERS[2], genesis=FOREIGN))
    assert seen.phase is Phase.JOINING
    assert GENESIS[:8] in seen.reason
    assert FOREIGN[:8] in seen.reason


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("pending", Phase.PENDING),
        ("refused", Phase.JOINING),
        ("removed", Phase.REMOVED),
        ("quarantined", Phase.QUARANTINED),
    ],
)
def test_a_voters_word_is_shown_and_asked_for_again(state: str, phase: Phase) -> None:
    """An answer alone stops no node for good: anybody with the gossip key can give one."""
    seen = stand(make_peer(genesis=GENESIS), verdict=Verdict(state, "why"))
    assert seen == Standing(phase, "why", seeks=True)


def test_a_member_stays_one_whatever_gossip_says() -> None:
    strangers = [make_peer(genesis=FOREIGN), make_peer(FOUNDERS[2], phase=Phase.FORMING)]
    assert stand(*strangers, membership=make_membership()).phase is Phase.MEMBER
    assert stand(*strangers, membership=make_membership(), credential=None).phase is Phase.MEMBER


def test_a_member_on_other_hardware_does_nothing_but_ask() -> None:
    seen = find_standing(
        ME,
        OTHER_HARDWARE,
        credential=make_credential(),
        membership=make_membership(),
        peers=(),
        verdict=None,
    )
    assert (seen.phase, seen.seeks) == (Phase.QUARANTINED, True)


def test_a_removed_member_asks_nobody() -> None:
    log = Log(make_genesis())
    log.apply(commands.remove(ME))
    seen = stand(make_peer(genesis=GENESIS), membership=make_membership(log.ledger))
    assert (seen.phase, seen.seeks) == (Phase.REMOVED, False)


def test_a_node_with_damaged_files_neither_founds_nor_joins() -> None:
    for peers in ((), (make_peer(genesis=GENESIS),)):
        seen = stand(*peers, damage="the ledger is damaged")
        assert (seen.phase, seen.seeks) == (Phase.WAITING, False)
        assert "the ledger is damaged" in seen.reason


def test_a_farewell_of_the_admission_key_is_believed_by_its_node_alone() -> None:
    word = farewell.say(ADMISSION, GENESIS, ME)
    farewell.check(word, make_membership(), ME)
    with pytest.raises(ClusterError, match="to another node"):
        farewell.check(word, make_membership(), OTHER)
    with pytest.raises(ClusterError, match="to another node"):
        farewell.check(farewell.say(ADMISSION, FOREIGN, ME), make_membership(), ME)


@pytest.mark.parametrize("seed", [OPERATOR, SEEDS[OTHER], SEEDS[ME]])
def test_nobody_else_can_talk_a_member_out(seed: bytes) -> None:
    with pytest.raises(ClusterError, match="without a say"):
        farewell.check(farewell.say(seed, GENESIS, ME), make_membership(), ME)


@given(ANY_BYTES, st.integers(0, 400), st.integers(1, 255))
def test_no_garbage_and_no_changed_farewell_is_believed(garbage: bytes, at: int, change: int) -> None:
    word = bytearray(farewell.say(ADMISSION, GENESIS, ME))
    word[at % len(word)] ^= change
    body = {"genesis": bytes.fromhex(GENESIS), "node": public_key_of(ME)}
    for data in (garbage, bytes(word), wire.seal(ADMISSION, "cluster/other", body)):
        with pytest.raises(ClusterError):
            farewell.check(data, make_membership(), ME)


def test_recovery_drops_the_voters_that_nobody_sees_and_keeps_the_rest() -> None:
    log = Log(make_genesis())
    log.admit(NODES[4])
    plan = plan_recovery(ME, log.ledger, [make_peer(NODES[4]), make_peer(OTHER, alive=False)])
    assert plan == RecoveryPlan(keep=tuple(sorted((ME, NODES[4]))), drop=tuple(sorted(FOUNDERS[1:])))
    after = apply_recovery(plan, ME, log.ledger, log.genesis)
    assert after.voters == (ME,)
    assert after.generation == log.ledger.generation + 1
    assert set(after.members) == {ME, NODES[4]}
    assert set(after.removed) == set(FOUNDERS[1:])


def test_recovery_is_refused_where_nothing_is_lost_and_where_there_is_no_vote() -> None:
    log = Log(make_genesis())
    log.admit(NODES[4])
    with pytest.raises(ClusterError, match="a majority of the voters is there"):
        plan_recovery(ME, log.ledger, [make_peer(OTHER)])
    with pytest.raises(ClusterError, match="has no vote"):
        plan_recovery(NODES[4], log.ledger, [])
