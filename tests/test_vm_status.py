# SPDX-License-Identifier: Apache-2.0
"""What `./build.py vm status` says of machines, from the documents that their agents publish."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from agent.cluster import RaftStatus
from agent.status.document import LeaseStatus, MeshPeerStatus, NodeStatus
from harness import table
from harness.cluster import list_unsettled
from harness.machine import Machine
from harness.readiness import list_held, list_others, wait_cluster
from harness.status import Seen, describe
from tests.example_status import HOSTNAMES, NODES, make_member, make_status
from tests.small_cluster import make_credential


def make(number: int) -> NodeStatus:
    """Return the status of one of three members, of which the second leads and holds the one lease."""
    status = make_status(
        node_id=NODES[number],
        hostname=HOSTNAMES[number],
        members=tuple(make_member(each) for each in range(3)),
        leases=(LeaseStatus("coordinator", NODES[1], 4),),
        raft=RaftStatus("follower", NODES[1], 3, 70 + number, tuple(NODES[:3]), tuple(NODES[:3]), True),
    )
    peers = tuple(MeshPeerStatus(NODES[each], None, 1.0, "up", 0, 0) for each in range(3) if each != number)
    assert status.mesh is not None
    return replace(status, mesh=replace(status.mesh, peers=peers))


def see(number: int, **changes: object) -> Seen:
    return Seen(f"node{number + 1}", "ready", {**make(number).to_dict(), **changes})


def test_a_cluster_that_is_formed_is_said_with_its_leader_and_its_roles() -> None:
    nodes, leases = describe("lab", [see(0), see(1), see(2)])
    assert nodes.title == "lab: one cluster of all 3 nodes, led by node2 in term 3"
    rows = {row["node"]: row for row in nodes.rows}
    assert rows["node2"]["raft"] == "leader"
    assert rows["node2"]["roles"] == "coordinator names"
    assert rows["node1"]["raft"] == "voter"
    assert rows["node1"]["roles"] == "names"
    assert rows["node1"]["mesh"] == "2/2 up"
    assert rows["node1"]["members"] == "3/3 alive"
    assert leases.rows[0]["holder"] == "node2"


def test_nodes_that_say_nothing_yet_are_shown_too() -> None:
    (nodes,) = describe("lab", [Seen("node1", "booting"), Seen("node2", "off")])
    assert nodes.title == "lab: not one cluster of all yet: 0 of 2 nodes are members"
    assert [line[:3] for line in nodes.lines()] == [["node1", "booting", "-"], ["node2", "off", "-"]]


def test_who_has_seen_most_of_the_log_is_believed() -> None:
    newer = [{"role": "coordinator", "holder": NODES[2], "epoch": 5, "left": None}]
    _, leases = describe("lab", [see(0), see(1), see(2, leases=newer)])
    assert (leases.rows[0]["holder"], leases.rows[0]["epoch"]) == ("node3", 5)


def test_an_agent_that_is_silent_is_said() -> None:
    nodes, _ = describe("lab", [replace(see(0), age=45.0)])
    assert nodes.rows[0]["says"] == "its agent has said nothing for 45 s"


def test_where_nobody_looks_tables_are_lines_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    table.show([table.Table(("a", "b"), [{"a": 1}, {"b": "x"}], "all of it"), table.Table(("c",), [])])
    assert capsys.readouterr().out == "# all of it\na\tb\n1\t-\n-\tx\n\nc\n"


def test_roles_that_run_where_they_may_leave_nothing_to_wait_for() -> None:
    here, elsewhere, unfit = (
        make_role("hub", "leader", state) for state in ("running", "elsewhere", "unfit")
    )
    worker, absent = make_role("worker", "every", "running"), make_role("gpu", "leader", "unfit")
    found = list_unsettled(
        [see_roles(here, worker, absent), see_roles(elsewhere, worker, absent), see_roles(unfit)]
    )
    assert found == []


def test_roles_that_do_not_run_yet_are_named() -> None:
    hub = make_role("hub", "leader", "elsewhere")
    worker = make_role("worker", "every", "waiting", "no server has begun")
    server = make_role("server", "servers", "starting")
    found = list_unsettled([see_roles(hub, worker), see_roles(hub, server), {}])
    hostname = HOSTNAMES[0]
    assert found == [
        "a member says nothing",
        f"worker on {hostname}: no server has begun",
        f"server on {hostname}: starting",
        "hub: nobody has it",
    ]


def test_who_waits_for_a_person_is_named_once_all_others_are_members() -> None:
    member, held = see(0).document, see(1, phase="pending", sentence="it waits for an operator").document
    assert list_held([member, held]) == [f"{HOSTNAMES[1]}: it waits for an operator"]
    assert list_held([member, member]) == []
    assert list_held([member, held, {}]) == []
    joining = see(2, phase="joining", sentence="it asks").document
    assert list_held([member, held, joining]) == []
    assert list_others([member, held, joining, {}]) == [
        f"{HOSTNAMES[1]}: it waits for an operator",
        f"{HOSTNAMES[2]}: it asks",
    ]


def test_too_few_machines_are_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    machines = [cast("Machine", None)] * 2
    wait_cluster(machines, make_credential(), 0.0, "")
    assert capsys.readouterr().err == "they form no cluster yet: 3 of the 5 planned machines are needed\n"


def make_role(name: str, kind: str, state: str, reason: str = "") -> dict[str, object]:
    return {"name": name, "kind": kind, "state": state, "reason": reason, "figures": {}}


def see_roles(*roles: dict[str, object]) -> Mapping[str, Any]:
    return see(0, roles=list(roles)).document
