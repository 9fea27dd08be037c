# SPDX-License-Identifier: Apache-2.0
"""What counts as wrong, what to do about it, and how people name nodes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cluster import Phase
from agent.errors import ClusterError
from agent.status import health
from agent.status.document import ClusterStatus, NodeStatus
from agent.status.names import known, resolve, short
from agent.status.tables import duration, leaders, members, overview, table
from tests.example_status import (
    CLONE,
    FOREIGN,
    HOSTNAMES,
    NODES,
    PENDING,
    any_status,
    make_member,
    make_status,
)


def test_a_healthy_member_has_no_problem_and_nothing_to_do() -> None:
    status = make_status()
    assert health.problems(status) == health.notices(status) == ()
    assert health.advice(status) == ""
    assert health.exit_status(status) == 0


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        (Phase.WAITING, 4),
        (Phase.FORMING, 4),
        (Phase.JOINING, 4),
        (Phase.PENDING, 5),
        (Phase.REMOVED, 6),
        (Phase.QUARANTINED, 6),
    ],
)
def test_each_phase_has_its_exit_status(phase: Phase, code: int) -> None:
    assert health.exit_status(make_status(phase=phase)) == code


@pytest.mark.parametrize("phase", [p for p in Phase if p not in (Phase.MEMBER, Phase.JOINING)])
def test_who_is_no_member_reads_what_to_do(phase: Phase) -> None:
    assert health.advice(make_status(phase=phase))


def test_a_pending_node_names_the_command_that_admits_it() -> None:
    assert f"node-agent approve {NODES[0]}" in health.advice(make_status(phase=Phase.PENDING))


def test_a_forming_node_says_how_many_machines_it_takes() -> None:
    status = make_status(phase=Phase.FORMING)
    assert "3 of the 5 planned" in health.advice(status)
    assert isinstance(status.cluster, ClusterStatus)
    founded = replace(status, cluster=replace(status.cluster, machines=0))
    assert "founding credential" in health.advice(founded)


RAFT = make_status().raft
MESH = make_status().mesh
assert MESH is not None
DOWN = replace(MESH, peers=(replace(MESH.peers[0], state="down"), *MESH.peers[1:]))
DEAD = replace(make_member(4), state="dead")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"error": "the disk is full"}, "last error: the disk is full"),
        ({"clones": (CLONE,)}, f"a clone of node {NODES[2]} at 192.0.2.66"),
        ({"foreign": (FOREIGN,)}, "another cluster of the same credential is here, genesis eeeeeeeeeeee"),
        ({"warnings": ("7 machines where 5 were planned",)}, "7 machines where 5 were planned"),
        ({"raft": replace(RAFT, leader=None)}, "no leader: 3 of 3 voters can be reached"),
        ({"raft": replace(RAFT, role="candidate", connected=())}, "no leader: 1 of 3 voters can be reached"),
        ({"raft": replace(RAFT, ready=False)}, "it has not caught up"),
        (
            {"members": (*make_status().members[:4], DEAD)},
            f"1 of 5 members cannot be reached: {HOSTNAMES[4]}",
        ),
        (
            {"members": (*make_status().members[:4], replace(DEAD, state="unknown"))},
            f"1 of 5 members cannot be reached: {HOSTNAMES[4]}",
        ),
        ({"mesh": None}, "the mesh is not up"),
        ({"mesh": DOWN}, "no connection to 1 of 5 living members"),
    ],
)
def test_each_problem_of_a_member_is_told_and_changes_the_exit_status(
    changes: dict[str, object], words: str
) -> None:
    status = make_status(**changes)
    assert len(health.problems(status)) == 1
    assert words in health.problems(status)[0]
    assert health.exit_status(status) == 7
    assert words in overview(status)


def test_a_peer_of_a_dead_member_is_not_told_twice() -> None:
    peers = (*MESH.peers[:3], replace(MESH.peers[3], state="down")) if MESH else ()
    status = make_status(
        members=(*make_status().members[:4], DEAD), mesh=replace(MESH, peers=peers) if MESH else None
    )
    assert len(health.problems(status)) == 1


def test_what_is_good_to_know_is_no_fault() -> None:
    status = make_status(pending=(PENDING,), clock_synchronised=False)
    assert health.exit_status(status) == 0
    assert [text.split(":")[0] for text in health.notices(status)] == [
        "1 node waits for approval",
        "the clock of this node is not synchronised; see",
    ]


@given(any_status())
def test_every_status_has_words_and_an_exit_status(status: NodeStatus) -> None:
    assert health.exit_status(status) in (0, 4, 5, 6, 7)
    assert overview(status)
    assert members(status)
    assert leaders(status).startswith("raft: ")


def test_a_node_is_named_by_its_id_a_unique_beginning_or_its_host_name() -> None:
    names = known(make_status(pending=(PENDING,), removed=(NODES[7],)))
    assert set(names) == {*NODES[:5], NODES[6], NODES[7]}
    for number in (0, 4, 6, 7):
        assert resolve(NODES[number], names) == NODES[number]
        assert resolve(NODES[number][:12], names) == NODES[number]
        assert resolve(HOSTNAMES[number].upper(), names) == NODES[number]
    assert resolve(NODES[5], names) == NODES[5]


@pytest.mark.parametrize("name", ["", "abc", NODES[0][:3], NODES[5][:12], HOSTNAMES[5], "n-", "\x1b[2J" * 30])
def test_a_name_of_nobody_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="no node is called") as caught:
        resolve(name, known(make_status()))
    assert caught.value.message.isprintable()


def test_a_beginning_that_two_nodes_share_names_neither() -> None:
    twins = {"7KqAAAA1": "n-a", "7KqAAAA2": "n-b", "8Kq": "n-c"}
    with pytest.raises(ClusterError, match="means 2 nodes: 7KqAAAA1, 7KqAAAA2"):
        resolve("7KqA", twins)


@given(st.text(max_size=50))
def test_a_name_means_a_node_or_is_refused(name: str) -> None:
    try:
        found = resolve(name, known(make_status()))
    except ClusterError:
        return
    assert found in (name, *NODES)


def test_columns_are_aligned() -> None:
    assert table(("A", "LONG"), [("wide", ""), ("x", "y")]) == "A     LONG\nwide\nx     y"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (-3.0, "0s"), (0.4, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172800, "2d")],
)
def test_lengths_of_time_are_short(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_the_tables_show_who_is_who() -> None:
    status = make_status(pending=(PENDING,), removed=(NODES[7],), clones=(CLONE,))
    shown = members(status)
    first, second = shown.splitlines()[1:3]
    assert first.split() == [
        short(NODES[0]),
        HOSTNAMES[0],
        "10.77.0.1",
        "alive",
        "0s",
        "voter",
        "this",
        "node",
    ]
    assert second.split()[5:] == ["leader", "up,", "11s", "ago", "via", "192.0.2.1:51820"]
    for text in (PENDING.node_id, PENDING.fingerprint, PENDING.reason, NODES[7], CLONE.address):
        assert text in shown
    assert leaders(status).splitlines() == [
        f"raft: follower, leader {HOSTNAMES[1]}, term 3, index 77",
        "",
        "ROLE         HOLDER        HOST NAME     EPOCH",
        f"coordinator  {short(NODES[1])}  {HOSTNAMES[1]}  4",
        "archive      -             -             0",
    ]


@pytest.mark.parametrize("known", [0, 2])
def test_a_voter_that_looks_without_its_vote_still_counts_all_voters(known: int) -> None:
    """Raft then knows of the other voters only, or of none."""
    status = make_status()
    others = tuple(voter for voter in status.raft.voters if voter != status.node_id)
    alone = replace(
        status,
        raft=replace(status.raft, role="observer", leader=None, voters=others[:known], connected=()),
        members=tuple(
            replace(member, voter=True, state="alive" if number == 0 else "dead")
            for number, member in enumerate(status.members)
        ),
    )
    assert f"no leader: 1 of {len(status.members)} voters can be reached" in health.problems(alone)[0]
