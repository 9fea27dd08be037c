# SPDX-License-Identifier: Apache-2.0
"""Raft among real processes on loopback addresses: elections, crashes, changes of voters, strangers.

Also the test of what agent/election/replica.py takes for granted in PySyncObj's inside.
"""

import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.election.timing import Timing
from tests.cluster.raft_cluster import LIMIT, Cluster, Replica, wait_for

LEASE = 6.0  # seconds; see agent/election/leases.py
SOON = {"heartbeat": 0.1, "election": 0.5, "step_down": 2.0, "tick": 0.05}


@pytest.fixture
def port() -> int:
    """A port that nobody has at the moment, also for the addresses beside 127.0.0.1."""
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


Begin = Callable[..., Cluster]


@pytest.fixture
def begin(tmp_path: Path, port: int) -> Iterator[Begin]:
    begun: list[Cluster] = []

    def make(founders: int, **settings: object) -> Cluster:
        cluster = Cluster(tmp_path, port, founders, **settings)
        begun.append(cluster)
        return cluster

    yield make
    for cluster in begun:
        cluster.end()


def settle(cluster: Cluster, words: list[str]) -> None:
    """Wait until every replica that runs has applied `words`, in this order."""
    running = [replica for replica in cluster.replicas.values() if replica.runs()]
    wait_for(f"{words} everywhere", lambda: all(replica.words() == words for replica in running))


def hand_over(cluster: Cluster, heir: Replica) -> None:
    """Have `heir` lead: asked again when another won the election, as long as not all are connected."""

    def leads() -> bool:
        leader = cluster.leader()
        if leader is not heir:
            leader.ask("transfer", host=heir.host)
        return leader is heir

    wait_for(f"{heir.name} leads", leads)


def change(cluster: Cluster, verb: str, replica: Replica) -> None:
    """Give or take a vote: asked again when the leader changes meanwhile."""

    def done() -> bool:
        leader = cluster.leader()
        leader.ask(verb, host=replica.host)
        return (replica.name in leader.raft()["voters"]) == (verb == "add") and leader.raft()["ready"]

    wait_for(f"{verb} {replica.name}", done)


def test_voters_elect_one_leader_and_everybody_commits_and_applies_the_same(begin: Begin) -> None:
    cluster = begin(5)
    leader = cluster.leader()
    for number in (8, 9):
        cluster.observe(number)
    words = []
    for replica in cluster.replicas.values():
        words.append(f"by {replica.name}")
        replica.commit(words[-1])
    settle(cluster, words)
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
    settle(cluster, ["before", "after"])


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
    settle(cluster, found)


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


def test_a_voter_is_replaced_and_all_know_it_also_after_a_restart(begin: Begin) -> None:
    cluster = begin(3, timing={**SOON, "compact_entries": 10})
    leader = cluster.leader()
    words = [f"word {number}" for number in range(30)]
    for word in words:
        leader.commit(word)
    gone, stays = cluster.others(leader)
    gone.kill()
    new = cluster.observe(7)
    change(cluster, "remove", gone)
    assert new.ask("stop")["threads"] == []
    new.start("voter", cluster.founders, fresh=True)
    change(cluster, "add", new)
    now = sorted([leader.name, stays.name, new.name])
    wait_for("the new voters", lambda: all(each.raft()["voters"] == now for each in (leader, stays, new)))
    # The new one counts: with it and one other, the third may go.
    stays.kill()
    new.commit("with the new one")
    settle(cluster, [*words, "with the new one"])
    for replica in (leader, new, stays):
        replica.respawn()
    for replica in (leader, stays, new):
        # What the caller believes is of no use any more: the log knows better.
        replica.start("voter", (gone.number,))
    cluster.leader([leader.number, stays.number, new.number]).commit("after")
    settle(cluster, [*words, "with the new one", "after"])
    for replica in (leader, stays, new):
        assert replica.raft()["voters"] == now
    # Who lost its vote and was away at that time disturbs nobody, and follows as an observer.
    gone.respawn()
    gone.start("voter")
    term = new.raft()["term"]
    gone.ask("stop")
    gone.start("observer", (leader.number, stays.number, new.number))
    wait_for("the log", lambda: gone.words()[-1:] == ["after"])
    assert gone.raft()["voters"] == now
    assert new.raft()["term"] == term


def test_a_voter_that_was_away_while_all_others_changed_finds_them_by_what_it_is_told(begin: Begin) -> None:
    cluster = begin(3, timing=SOON)
    leader = cluster.leader()
    leader.commit("before")
    away, other = cluster.others(leader)
    away.kill()
    new = [cluster.spawn(number) for number in (7, 8)]
    for replica in new:
        replica.start("voter", cluster.founders, fresh=True)
        change(cluster, "add", replica)
    for replica in (leader, other):
        hand_over(cluster, new[0])
        change(cluster, "remove", replica)
    for replica in (leader, other):
        replica.kill()
    away.respawn()
    # It finds nobody whom its log knows; then gossip has told it who votes now.
    away.start("voter", (20,))
    away.ask("meet", hosts=[replica.host for replica in new])
    wait_for("the voters", lambda: away.raft()["voters"] == sorted([away.name, "node7", "node8"]))
    new[1].kill()
    new[0].commit("after")
    wait_for("the words", lambda: away.words() == ["before", "after"])


def test_a_voter_that_knows_nobody_is_found_by_the_leader(begin: Begin) -> None:
    cluster = begin(1)
    leader = cluster.leader()
    new = cluster.spawn(7)
    new.start("voter", (20,), fresh=True)
    leader.begin("add", host=new.host)
    wait_for("it follows", lambda: new.raft()["ready"])
    new.commit("after")
    assert leader.raft()["voters"] == ["node1", "node7"]


def test_a_leader_does_not_remove_itself_and_others_do_not_change_who_votes(begin: Begin) -> None:
    cluster = begin(3, timing=SOON)
    leader = cluster.leader()
    follower = cluster.others(leader)[0]
    assert leader.ask("remove", host=leader.host)["outcome"] == "refused"
    assert leader.ask("add", host=follower.host)["outcome"] == "refused"
    assert follower.ask("add", host="127.0.0.9")["outcome"] == "refused"
    assert "not a mesh address" in leader.ask("add", host="localhost")["error"]
    # Two at once: the second waits for nobody, it is refused.
    first = leader.begin("add", host="127.0.0.20")
    second = leader.begin("add", host="127.0.0.21")
    assert {first()["outcome"], second()["outcome"]} == {"committed", "refused"}
    assert follower.ask("transfer")["outcome"] == "refused"
    hand_over(cluster, follower)
    assert leader.raft()["role"] != "leader"


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
    settle(cluster, ["after"])


def test_a_command_of_which_nobody_knows_the_fate_is_told_to_be_unknown(begin: Begin) -> None:
    cluster = begin(3)
    leader = cluster.leader()
    for replica in cluster.others(leader):
        replica.stop()
    assert leader.ask("commit", word="perhaps", limit=0.5)["outcome"] == "unknown"
    for replica in cluster.others(leader):
        replica.go_on()


def test_garbage_and_wrong_passwords_change_nothing(begin: Begin, port: int) -> None:
    cluster = begin(3)
    leader = cluster.leader()
    randomly = random.Random(1)
    strangers = []
    for number in range(200):
        stranger = socket.create_connection((leader.host, port), timeout=LIMIT)
        stranger.sendall(
            [
                randomly.randbytes(200),
                b"cosraft1" + randomly.randbytes(5),
                b"cosraft1" + bytes(32) + b"\0\0\0\x50" + bytes(80),
                b"cosraft1" + bytes(32) + b"\x7f\xff\xff\xff",
                b"GET / HTTP/1.1\r\n\r\n",
                b"",
            ][number % 6]
        )
        strangers.append(stranger)
    wait_for("an answer to each stranger", lambda: all(map(hangs_up, strangers)))
    leader.commit("still here")
    other = cluster.spawn(9, password="YW5vdGhlciBwYXNzd29yZCBvZiBhIGNsdXN0ZXIgaW4gdGU=")
    other.start("observer", (1, 2, 3))
    wait_for("a refusal", lambda: "does not hold the Raft password" in other.log.read_text())
    assert other.status()["words"] is None
    assert other.raft()["connected"] == []
    leader.commit("and here")


def hangs_up(stranger: socket.socket) -> bool:
    """Tell whether the other end has closed; what it says before is nothing but its greeting."""
    stranger.setblocking(False)
    try:
        data = stranger.recv(4096)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    assert data[:8] in (b"", b"cosraft1")
    return not data


def test_a_replica_listens_at_its_own_address_only(begin: Begin, port: int) -> None:
    cluster = begin(1)
    replica = cluster.leader()
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    here = {fields[1] for fields in listening if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}
    assert here == {f"0100007F:{port:04X}"}
    assert replica.raft()["voters"] == ["node1"]
    observer = cluster.observe(9)
    wait_for("the observer is ready", lambda: observer.raft()["ready"])
    assert not [
        line
        for line in Path("/proc/net/tcp").read_text().splitlines()
        if f"0900007F:{port:04X} 00000000" in line
    ]


def test_an_address_that_is_taken_and_a_folder_in_use_are_told(begin: Begin, port: int) -> None:
    cluster = begin(1)
    first = cluster.leader()
    assert "another program" in cluster.spawn(1).refuse()
    cluster.replicas[20] = first
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", port))
        taken.listen()
        second = cluster.spawn(2)
        answer = second.ask("start", role="voter", voters=["127.0.0.1"], fresh=True)
        assert f"Raft cannot listen on 127.0.0.2:{port}: address already in use" in answer["error"]
    answer = second.ask("start", role="voter", voters=["127.0.0.2"], fresh=True)
    assert answer["error"] == "no voter is known whom this node could follow"


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


def test_a_survivor_goes_on_alone_after_recovery_and_others_join_anew(begin: Begin) -> None:
    cluster = begin(3, timing=SOON)
    leader = cluster.leader()
    leader.commit("before")
    survivor, *lost = cluster.others(leader)
    wait_for("the word", lambda: survivor.words() == ["before"])
    for replica in (leader, *lost):
        replica.kill()
        del cluster.replicas[replica.number]
    survivor.ask("stop")
    survivor.ask("recover", state=["before", "recovered"])
    survivor.start()
    assert cluster.leader() is survivor
    assert survivor.raft()["voters"] == [survivor.name]
    survivor.commit("alone")
    new = cluster.spawn(7)
    new.start("voter", (survivor.number,), fresh=True)
    change(cluster, "add", new)
    new.commit("together")
    settle(cluster, ["before", "recovered", "alone", "together"])
