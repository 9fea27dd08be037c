# SPDX-License-Identifier: Apache-2.0
"""A formed cluster whose programs are killed, whose machine gets another name, whose clock jumps."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.formation.acceptor import decode_state, encode_state
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import Machine, Machines, members, wait_formed
from tests.cluster.observed import (
    ELECTION,
    LOADED,
    acts,
    process,
    restart_agent,
    start_again,
    stays,
    wait_alive,
    wait_commit,
    wait_holder,
    wait_leader,
)
from tests.cluster.watching import wait_voters

BACK = 20.0
"""Seconds after which a program that was killed has its place again; it takes some."""
DAY = 86400
CREDENTIAL = make_credential(3)
FAKED = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@pytest.fixture(scope="module")
def formed(heap: Machines) -> list[Machine]:
    machines = heap.start(3, encode(CREDENTIAL))
    wait_formed(machines)
    wait_voters(machines)
    return machines


@pytest.fixture
def cluster(formed: list[Machine]) -> list[Machine]:
    """Three members that see each other."""
    wait_alive(formed)
    return formed


def test_a_killed_agent_comes_back_to_its_place_and_serf_does_not_notice(cluster: list[Machine]) -> None:
    victim, *others = cluster
    before, serf, wireguard = members(victim), process(victim, "serf"), process(victim, "wireguard")
    genesis = victim.status()["cluster"]["genesis"]
    stopped = time.monotonic()
    restart_agent(victim)
    wait_alive(cluster)
    assert (victim.status()["cluster"]["genesis"], members(victim)) == (genesis, before)
    assert (process(victim, "serf"), process(victim, "wireguard")) == (serf, wireguard)
    assert all(members(other) == before for other in others)
    # Nobody has taken it for dead meanwhile.
    ages = [
        member["state_age"]
        for other in others
        for member in other.status()["members"]
        if member["node_id"] == victim.node_id
    ]
    assert min(ages) > time.monotonic() - stopped


def test_a_killed_serf_comes_back_and_nobody_is_forgotten(cluster: list[Machine]) -> None:
    victim = cluster[0]
    before, serf = members(victim), process(victim, "serf")
    epoch, said = ledger_epoch(cluster), len(victim.log())
    victim.kill("serf")
    wait_for("its agent to miss it", lambda: "Serf does not answer" in victim.log()[said:], BACK)
    wait_for("its agent to speak to another", lambda: not victim.status()["error"], BACK)
    assert process(victim, "serf") not in (0, serf)
    wait_alive(cluster)
    assert all(members(machine) == before for machine in cluster)
    # Raft and leases do not ride on gossip.
    assert ledger_epoch(cluster) == epoch


def test_a_killed_wireguard_comes_back_with_key_and_peers(cluster: list[Machine]) -> None:
    victim, *others = cluster
    before = victim.status()["mesh"]
    victim.kill("wireguard")
    told = "the WireGuard program"
    wait_for("its agent to say so", lambda: told in (victim.status()["error"] or ""), BACK)
    victim.start_wireguard()
    wait_for("the mesh", lambda: not victim.status()["error"], BACK)
    wait_alive(cluster)
    after = victim.status()["mesh"]
    assert (after["ipv4"], after["ipv6"]) == (before["ipv4"], before["ipv6"])
    for other in others:
        assert victim.inside("ping", "-c1", "-w10", other.status()["mesh"]["ipv4"]).returncode == 0


def test_a_tag_that_serf_has_from_before_is_taken_back(cluster: list[Machine]) -> None:
    victim, *others = cluster
    victim.kill("agent")
    auth = json.loads((victim.run / "serf.json").read_bytes())["rpc_auth"]
    done = victim.inside("serf", "tags", f"-rpc-auth={auth}", "-set", "x=1")
    assert done.returncode == 0, done.stderr
    told = f"the member of the gossip at {victim.address} announces what its node key did not sign"
    wait_for("all to say so", lambda: all(told in str(m.status()["warnings"]) for m in others), BACK)
    start_again(victim)
    wait_alive(cluster)
    assert not any(machine.status()["warnings"] for machine in others)


def test_after_the_kill_of_the_leader_the_next_one_commits_within_an_election(
    cluster: list[Machine], record_property: pytest.FixtureRequest
) -> None:
    took = []
    for _ in range(3):
        wait_alive(cluster)
        leader = wait_leader(cluster, BACK)
        others = [machine for machine in cluster if machine is not leader]
        leader.kill("agent")
        took.append(wait_commit(others, 2 * ELECTION + LOADED))
        start_again(leader)
        wait_for("it to follow", lambda: leader.status()["raft"]["role"] == "follower", BACK)  # noqa: B023
    print(f"leader kill to the next commit: {', '.join(f'{seconds:.2f}' for seconds in took)} s")
    assert sorted(took)[1] < ELECTION + LOADED / 2


def test_after_the_power_cut_of_the_leader_the_next_one_commits_within_two_elections(
    cluster: list[Machine],
) -> None:
    leader = wait_leader(cluster, BACK)
    others = [machine for machine in cluster if machine is not leader]
    leader.cut_power()
    took = wait_commit(others, 2 * ELECTION + LOADED)
    print(f"power cut of the leader to the next commit: {took:.2f} s")
    leader.start()
    wait_alive(cluster)


def test_a_founder_that_promised_and_heard_no_more_still_gets_its_vote(cluster: list[Machine]) -> None:
    """The others needed its vote for the genesis no more; so it has no log, and the log has it as a voter."""
    victim = next(machine for machine in cluster if machine.status()["raft"]["role"] == "follower")
    victim.cut_power()
    folder, forming = victim.state / "agent", victim.state / "agent/forming.msgpack"
    promised = decode_state(forming.read_bytes(), CREDENTIAL.cluster_id, str(forming))
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    forming.write_bytes(encode_state(replace(promised, vote=None), CREDENTIAL.cluster_id))
    victim.start()
    wait_formed(cluster)
    wait_for("its vote", lambda: victim.status()["raft"]["role"] in ("follower", "leader"), BACK)


def test_another_host_name_changes_nothing(cluster: list[Machine]) -> None:
    victim = cluster[0]
    before = victim.status()
    restart_agent(victim, "unshare", "--uts", "--", "sh", "-c", 'hostname renamed && exec "$@"', "sh")
    wait_alive(cluster)
    after = victim.status()
    for what in ("node_id", "hostname", "addresses", "cluster"):
        assert after[what] == before[what]
    assert all(len(members(machine)) == 3 for machine in cluster)


@pytest.mark.parametrize("jump", [DAY, pytest.param(-DAY, marks=pytest.mark.full)])
def test_a_jump_of_the_clock_by_a_day_changes_neither_leader_nor_lease(
    cluster: list[Machine], jump: int
) -> None:
    holder = wait_holder(cluster, BACK)
    file = holder.folder / "clock"
    file.write_text("+0s")
    holder.variables = {"LD_PRELOAD": FAKED, "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}
    restart_agent(holder)
    holder.variables = {}
    assert FAKED in Path(f"/proc/{process(holder, 'agent')}/maps").read_text()
    wait_alive(cluster)
    wait_for("it to act again", lambda: acts(holder), BACK)
    leader = wait_leader(cluster, BACK)
    epoch, term = ledger_epoch(cluster), leader.status()["raft"]["term"]
    file.write_text(f"{jump:+d}s")
    stays("same epoch", lambda: ledger_epoch(cluster) == epoch, 10)
    assert leader.status()["raft"]["term"] == term
    assert "an error of the agent itself" not in holder.log()
    wait_alive(cluster)


def ledger_epoch(cluster: list[Machine]) -> int:
    return max(int(lease["epoch"]) for machine in cluster for lease in machine.status()["leases"])
