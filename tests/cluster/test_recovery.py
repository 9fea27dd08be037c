# SPDX-License-Identifier: Apache-2.0
"""Two of three voters are lost for good: `node-agent recover` on the one that is left, never by itself."""

import json

from tests.cluster.bundle import Operator, encode
from tests.cluster.machines import Machines, wait_formed
from tests.cluster.watching import wait_led, wait_members, wait_status, wait_voters


def test_a_lost_quorum_is_given_up_by_an_operator_only_and_who_was_dropped_stays_out(
    machines: Machines,
) -> None:
    operator = Operator(3)
    founders = machines.start(3, encode(operator.issue()))
    wait_formed(founders)
    (member,) = machines.start_more([4], encode(operator.issue()))
    wait_formed([*founders, member])
    survivor, *lost = founders
    refused = survivor.command("recover")
    assert refused.returncode == 1
    assert "the cluster has a leader" in refused.stderr
    wait_voters([survivor])
    before = survivor.status()
    for machine in lost:
        machine.cut_power()
    for machine in (survivor, member):
        wait_status(machine, "no leader", lambda status: status["raft"]["leader"] is None)
        wait_status(machine, "two dead", lambda status: _dead(status) == {gone.node_id for gone in lost})
    shown = survivor.command("status")
    assert shown.returncode == 7
    assert "no leader: 1 of 3 voters can be reached" in shown.stdout, shown.stdout
    assert "node-agent recover" in shown.stdout
    without_vote = member.command("recover")
    assert without_vote.returncode == 1
    assert "has no vote" in without_vote.stderr
    # First it only shows what it would do.
    plan = json.loads(survivor.command("recover", "--json").stdout)
    assert plan["done"] is False
    assert plan["keep"] == sorted([survivor.node_id, member.node_id])
    assert plan["drop"] == sorted(machine.node_id for machine in lost)
    assert survivor.status()["raft"]["leader"] is None
    done = survivor.command("recover", "--yes")
    assert done.returncode == 0, done.stderr
    wait_led([survivor, member], by={survivor.node_id})
    wait_members([survivor, member], {survivor.node_id, member.node_id})
    after = survivor.status()
    assert after["cluster"]["genesis"] == before["cluster"]["genesis"]
    assert after["cluster"]["generation"] == 1
    assert set(after["removed"]) == {machine.node_id for machine in lost}
    # It works again: a change is committed, the gossip has another key, a new machine gets in by a token.
    for machine in (survivor, member):
        wait_status(machine, "a new key", lambda status: status["secrets"]["gossip"] >= 2)
    # A dropped voter comes back: it is nobody's peer and changes nothing.
    lost[0].start()
    wait_status(lost[0], "to run", lambda status: status["mesh"] is not None)
    assert member.command("approve", lost[0].node_id).returncode == 1
    wait_members([survivor, member], {survivor.node_id, member.node_id})
    assert lost[0].status()["raft"]["leader"] is None
    # All of it is on the disk.
    survivor.cut_power()
    survivor.start()
    wait_led([survivor, member], by={survivor.node_id})
    wait_members([survivor, member], {survivor.node_id, member.node_id})


def _dead(status: dict[str, list[dict[str, str]]]) -> set[str]:
    return {member["node_id"] for member in status["members"] if member["state"] == "dead"}
