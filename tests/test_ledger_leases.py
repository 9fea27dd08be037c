# SPDX-License-Identifier: Apache-2.0
"""Leases and secrets in the ledger: who may write what, and that who comes late may not."""

import pytest

from agent.cluster import Lease
from agent.membership import commands
from agent.membership.ledger_leases import holder_of
from agent.membership.secrets import open_sealed
from tests.small_cluster import (
    ADMISSION,
    FOUNDERS,
    NODES,
    SEEDS,
    Log,
    admit,
    make_genesis,
)

JOINER, LATER = NODES[4], NODES[5]


@pytest.fixture
def log() -> Log:
    """A cluster of three founders, of policy auto."""
    return Log(make_genesis())


def test_a_lease_is_granted_to_who_saw_its_last_state(log: Log) -> None:
    one, two = FOUNDERS[:2]
    seen = log.ledger
    log.apply(commands.lease_grant(seen, "web", one))
    assert log.ledger.leases["web"] == Lease("web", one, 1, 0)
    log.refuse(commands.lease_grant(seen, "web", two), "epoch 1, renewal 0 by now")
    seen = log.ledger
    log.apply(commands.lease_renew("web", one, 1))
    log.refuse(commands.lease_grant(seen, "web", two), "epoch 1, renewal 1 by now")
    log.apply(commands.lease_grant(log.ledger, "web", two))
    assert log.ledger.leases["web"] == Lease("web", two, 2, 0)


def test_a_late_holder_neither_renews_nor_releases(log: Log) -> None:
    one, two = FOUNDERS[:2]
    log.apply(commands.lease_grant(log.ledger, "web", one))
    log.apply(commands.lease_grant(log.ledger, "web", two))
    log.refuse(commands.lease_renew("web", one, 1), "does not hold web in epoch 1")
    log.refuse(commands.lease_release("web", one, 1), "does not hold web in epoch 1")
    log.refuse(commands.lease_renew("web", two, 1), "does not hold web in epoch 1")
    log.refuse(commands.lease_renew("mail", two, 2), "does not hold mail")


def test_a_released_lease_is_free_and_its_epoch_stays(log: Log) -> None:
    one, two = FOUNDERS[:2]
    log.apply(commands.lease_grant(log.ledger, "web", one))
    seen = log.ledger
    log.apply(commands.lease_release("web", one, 1))
    assert log.ledger.leases["web"] == Lease("web", None, 1, 1)
    assert holder_of(log.ledger, "web") is None
    log.refuse(commands.lease_renew("web", one, 1), "does not hold web")
    log.refuse(commands.lease_grant(seen, "web", two), "by now")
    log.apply(commands.lease_grant(log.ledger, "web", two))
    assert log.ledger.leases["web"].epoch == 2


def test_the_lease_of_a_removed_holder_runs_out_and_is_not_renewed(log: Log) -> None:
    one, two = FOUNDERS[:2]
    log.apply(commands.lease_grant(log.ledger, "web", one))
    log.apply(commands.remove(one))
    assert holder_of(log.ledger, "web") is None
    # Its name stays, so that nobody takes the lease for released by a node that may still run the role.
    assert log.ledger.leases["web"].holder == one
    log.refuse(commands.lease_renew("web", one, 1), "was removed: its lease of web runs out")
    log.apply(commands.lease_grant(log.ledger, "web", two))


def test_only_members_hold_leases(log: Log) -> None:
    log.refuse(commands.lease_grant(log.ledger, "web", JOINER), "is no member")


@pytest.mark.parametrize("role", ["Web", "a b", "-web", "w" * 64, "web/1"])
def test_a_role_has_a_plain_name(log: Log, role: str) -> None:
    log.refuse(commands.lease_grant(log.ledger, role, FOUNDERS[0]), "")
    assert not log.ledger.leases


def test_a_secret_grows_by_one_version(log: Log) -> None:
    seen = log.ledger
    log.apply(commands.put_secret(seen, "token", b"one", FOUNDERS))
    log.refuse(commands.put_secret(seen, "token", b"two", FOUNDERS), "has version 1 by now")
    log.apply(commands.put_secret(log.ledger, "token", b"two", FOUNDERS[:1]))
    secret = log.ledger.secrets["token"]
    assert secret.version == 2
    assert open_sealed(SEEDS[FOUNDERS[0]], secret.sealed[FOUNDERS[0]]) == b"two"
    assert tuple(secret.sealed) == FOUNDERS[:1]


def test_a_secret_is_for_members(log: Log) -> None:
    log.refuse(commands.put_secret(log.ledger, "token", b"one", [JOINER]), "is no member")
    log.refuse(commands.put_secret(log.ledger, "token", b"one", []), "for nobody")


def test_what_a_role_shares_is_written_in_the_epoch_of_its_lease_alone(log: Log) -> None:
    one, two = FOUNDERS[:2]
    early = commands.put_secret(log.ledger, "web/key", b"1", FOUNDERS, role="web", epoch=1)
    log.refuse(early, "is not in epoch 1 any more")
    log.apply(commands.lease_grant(log.ledger, "web", one))
    log.apply(early)
    late = commands.put_secret(log.ledger, "web/key", b"late", FOUNDERS, role="web", epoch=1)
    log.apply(commands.lease_grant(log.ledger, "web", two))
    log.refuse(late, "is not in epoch 1 any more")
    # Nor by leaving the role out, or by a lease of another.
    log.refuse(commands.put_secret(log.ledger, "web/key", b"late", FOUNDERS), "belongs to the role web")
    log.apply(commands.lease_grant(log.ledger, "mail", one))
    foreign = commands.put_secret(log.ledger, "web/key", b"late", FOUNDERS, role="mail", epoch=1)
    log.refuse(foreign, "belongs to the role web")
    log.apply(commands.put_secret(log.ledger, "web/key", b"2", FOUNDERS, role="web", epoch=2))
    log.apply(commands.lease_release("web", two, 2))
    after = commands.put_secret(log.ledger, "web/key", b"3", FOUNDERS, role="web", epoch=2)
    log.refuse(after, "is not in epoch 2 any more")


def test_a_removed_holder_writes_no_secret(log: Log) -> None:
    one = FOUNDERS[0]
    log.apply(commands.lease_grant(log.ledger, "web", one))
    log.apply(commands.remove(one))
    command = commands.put_secret(log.ledger, "web/key", b"1", FOUNDERS[1:], role="web", epoch=1)
    log.refuse(command, "is not in epoch 1 any more")


def test_a_new_gossip_key_leaves_no_member_behind(log: Log) -> None:
    seen = log.ledger
    log.admit(JOINER)
    log.refuse(commands.put_secret(seen, "gossip", b"k" * 32, seen.members), "sealed for every member")
    log.apply(commands.put_secret(log.ledger, "gossip", b"k" * 32, log.ledger.members))
    assert set(log.boxes_for("gossip")) == {*FOUNDERS, JOINER}


def test_a_new_gossip_key_may_be_fenced_by_the_coordinator_and_stays_everybodys(log: Log) -> None:
    log.apply(commands.lease_grant(log.ledger, "coordinator", FOUNDERS[0]))
    log.apply(
        commands.put_secret(
            log.ledger,
            "gossip",
            b"k" * 32,
            FOUNDERS,
            role="coordinator",
            epoch=log.ledger.leases["coordinator"].epoch,
        )
    )
    late = commands.put_secret(log.ledger, "gossip", b"l" * 32, FOUNDERS, role="coordinator", epoch=0)
    log.refuse(late, "not in epoch 0 any more")
    log.apply(commands.put_secret(log.ledger, "gossip", b"m" * 32, FOUNDERS))


def test_the_admission_seed_is_sealed_for_every_voter(log: Log) -> None:
    log.refuse(commands.put_secret(log.ledger, "admission", ADMISSION, FOUNDERS[:2]), "for every voter")
    log.apply(commands.put_secret(log.ledger, "admission", ADMISSION, FOUNDERS))


def test_nobody_is_admitted_with_a_key_that_was_changed_meanwhile(log: Log) -> None:
    stale = admit(log.ledger, JOINER)
    log.apply(commands.put_secret(log.ledger, "gossip", b"k" * 32, FOUNDERS))
    log.refuse(stale, "the secret gossip has version 2 by now, not 1")
