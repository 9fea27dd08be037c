# SPDX-License-Identifier: Apache-2.0
"""Who votes changes while Raft runs, among real processes on loopback addresses."""

from tests.cluster.raft_cluster import SOON, Begin, wait_for


def test_a_voter_is_replaced_and_all_know_it_also_after_a_restart(begin: Begin) -> None:
    cluster = begin(3, timing={**SOON, "compact_entries": 10})
    leader = cluster.leader()
    words = [f"word {number}" for number in range(30)]
    for word in words:
        leader.commit(word)
    gone, stays = cluster.others(leader)
    gone.kill()
    new = cluster.observe(7)
    cluster.change("remove", gone)
    assert new.ask("stop")["threads"] == []
    new.start("voter", cluster.founders, fresh=True)
    cluster.change("add", new)
    now = sorted([leader.name, stays.name, new.name])
    wait_for("the new voters", lambda: all(each.raft()["voters"] == now for each in (leader, stays, new)))
    # The new one counts: with it and one other, the third may go.
    stays.kill()
    new.commit("with the new one")
    cluster.settle([*words, "with the new one"])
    for replica in (leader, new, stays):
        replica.respawn()
    for replica in (leader, stays, new):
        # What the caller believes is of no use any more: the log knows better.
        replica.start("voter", (gone.number,))
    cluster.leader([leader.number, stays.number, new.number]).commit("after")
    cluster.settle([*words, "with the new one", "after"])
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
        cluster.change("add", replica)
    for replica in (leader, other):
        cluster.hand_over(new[0])
        cluster.change("remove", replica)
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
    cluster.hand_over(follower)
    assert leader.raft()["role"] != "leader"


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
    cluster.change("add", new)
    new.commit("together")
    cluster.settle(["before", "recovered", "alone", "together"])
