# SPDX-License-Identifier: Apache-2.0
"""Raft among real processes on loopback addresses: elections, crashes, damage.

With test_raft_voters.py and test_raft_strangers.py also the test of what agent/election/replica.py takes for
granted in PySyncObj's inside.
"""

import random
import time

import pytest

from agent.election.timing import Timing
from tests.cluster.raft_cluster import LIMIT, SOON, Begin, wait_for

LEASE = 6.0  # seconds; see agent/election/leases.py


def test_voters_elect_one_leader_and_everybody_commits_and_applies_the_same(begin: Begin) -> None:
    cluster = begin(5)
    leader = cluster.leader()
    for number in (8, 9):
        cluster.observe(number)
    words = []
    for replica in cluster.replicas.values():
        words.append(f"by {replica.name}")
        replica.commit(words[-1])
    cluster.settle(words)
    assert leader.ask("commit", word="!no") | {"at": 0, "id": 0} == {
        "at": 0,
        "id": 0,
        "outcome": "committed",
        "result": "refused",
    }
    for replica in cluster.replicas.values():
        status = replica.raft()
        assert status["leader"] == leader.name
        assert status["voters"] == [f"node{number}" for number in range(1, 6)]
        assert status["ready"]
        role = "leader" if replica is leader else "follower" if replica.number < 6 else "observer"
        assert status["role"] == role
        assert replica.status()["leads"] == (replica is leader)


def test_when_the_leader_is_killed_commits_go_on_and_observers_follow(begin: Begin) -> None:
    cluster = begin(5)
    leader = cluster.leader()
    observer = cluster.observe(9)
    observer.commit("before")
    leader.kill()
    killed = time.monotonic()
    answer = observer.ask("commit", word="after", limit=LIMIT)
    assert answer["outcome"] == "committed"
    # Far below, as the kernel tells the others at once; a machine that vanishes costs an election timeout.
    assert answer["at"] - killed < 2 * Timing().election + 1.0
    assert observer.raft()["leader"] not in (None, leader.name)
    leader.respawn()
    leader.start()
    cluster.settle(["before", "after"])


def test_a_voter_that_comes_back_does_not_disturb_the_leader(begin: Begin) -> None:
    cluster = begin(3)
    leader = cluster.leader()
    term = leader.raft()["term"]
    for replica in cluster.others(leader):
        replica.respawn()
        replica.start()
        replica.commit(f"{replica.name} is back")
    assert leader.raft()["term"] == term


@pytest.mark.parametrize("seed", range(2))
def test_what_was_committed_survives_the_death_of_all_and_any_order_of_return(
    begin: Begin, seed: int
) -> None:
    cluster = begin(5, timing={**SOON, "compact_entries": 20})
    order = random.Random(seed)
    leader = cluster.leader()
    words = [f"word {number}" for number in range(60)]
    waiting = [leader.begin("commit", word=word) for word in words]
    assert {answer()["outcome"] for answer in waiting} == {"committed"}
    # And some of which nobody knows whether they are: killed while they are under way.
    for number in range(20):
        leader.begin("commit", word=f"perhaps {number}")
    replicas = list(cluster.replicas.values())
    order.shuffle(replicas)
    for replica in replicas:
        replica.kill()
    order.shuffle(replicas)
    for replica in replicas:
        replica.respawn()
        replica.start()
    cluster.leader().commit("after")
    found = cluster.leader().words()
    assert found[:60] == words
    assert found[-1] == "after"
    assert all(word.startswith("perhaps") for word in found[60:-1])
    cluster.settle(found)


def test_a_damaged_journal_is_refused_by_name_and_the_others_go_on(begin: Begin) -> None:
    cluster = begin(3)
    leader = cluster.leader()
    leader.commit("before")
    victim = cluster.others(leader)[0]
    wait_for("the word", lambda: victim.words() == ["before"])
    victim.kill()
    journal = victim.folder / "journal"
    data = bytearray(journal.read_bytes())
    data[-20] ^= 0x40
    journal.write_bytes(bytes(data))
    victim.respawn()
    assert "journal: the Raft journal is damaged" in victim.refuse()
    assert str(journal) in victim.refuse()
    assert journal.read_bytes() == bytes(data)
    journal.unlink()
    assert "is missing, and this node has a vote" in victim.refuse()
    leader.commit("after")


def test_an_isolated_leader_stops_leading_before_a_lease_can_be_given_away(begin: Begin) -> None:
    cluster = begin(5)
    leader = cluster.leader()
    for replica in cluster.others(leader):
        replica.stop()
    stopped = time.monotonic()
    wait_for("it steps down", lambda: not leader.status()["leads"])
    timing = Timing()
    assert time.monotonic() - stopped < timing.step_down + 2 * timing.heartbeat + 1.0 < LEASE
    assert leader.raft()["role"] != "leader"
    assert leader.ask("commit", word="lost", limit=1.0)["outcome"] == "refused"
    for replica in cluster.others(leader):
        replica.go_on()
    cluster.leader().commit("after")
    cluster.settle(["after"])


def test_a_command_of_which_nobody_knows_the_fate_is_told_to_be_unknown(begin: Begin) -> None:
    cluster = begin(3)
    leader = cluster.leader()
    for replica in cluster.others(leader):
        replica.stop()
    assert leader.ask("commit", word="perhaps", limit=0.5)["outcome"] == "unknown"
    for replica in cluster.others(leader):
        replica.go_on()


def test_a_full_disk_ends_raft_there_by_name_and_it_goes_on_when_there_is_room(begin: Begin) -> None:
    cluster = begin(3, timing=SOON)
    leader = cluster.leader()
    leader.commit("before")
    leader.ask("limit", bytes=(leader.folder / "journal").stat().st_size + 20)
    leader.begin("commit", word="too much " * 20)
    fault = wait_for("the fault", lambda: leader.status()["fault"])
    assert "cannot write the Raft journal" in fault
    assert "file too large" in fault
    assert leader.raft()["role"] == "off"
    new = cluster.leader([replica.number for replica in cluster.others(leader)])
    new.commit("without it")
    leader.ask("stop")
    leader.ask("limit", bytes=1 << 30)
    leader.start()
    wait_for("the word", lambda: "without it" in leader.words())
    assert leader.words() == new.words()
