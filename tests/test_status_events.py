# SPDX-License-Identifier: Apache-2.0
"""What happened is told once, in a sentence, and never more than the last fifty."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.cluster import Phase, RaftStatus
from agent.status.document import LeaseStatus, NodeStatus, RoleStatus
from agent.status.events import MOST, QUIET, follow
from tests.example_status import CLONE, HOSTNAMES, NODES, PENDING, any_status, make_member, make_status


def told(before: NodeStatus, **changes: object) -> list[str]:
    """Return what is told of these changes."""
    return [event.text for event in follow(before, replace(before, **changes))]  # type: ignore[arg-type]


BEFORE = make_status()


def test_nothing_is_told_while_nothing_happens() -> None:
    assert follow(BEFORE, replace(BEFORE, published=2000.0)) == ()


def test_the_first_document_tells_that_the_agent_started() -> None:
    (event,) = follow(None, BEFORE)
    assert (event.at, event.kind, event.text) == (1000.0, "node", "the agent started: it is a member")


def test_members_that_come_go_or_fall_silent_are_told() -> None:
    dead = (replace(make_member(0), state="dead"), *BEFORE.members[1:])
    assert told(BEFORE, members=dead) == [f"{HOSTNAMES[0]} cannot be reached"]
    assert told(replace(BEFORE, members=dead), members=BEFORE.members) == [f"{HOSTNAMES[0]} is there"]
    assert told(BEFORE, members=BEFORE.members[:4]) == [f"{HOSTNAMES[4]} is no member any more"]
    assert told(BEFORE, members=(*BEFORE.members, make_member(5))) == [f"{HOSTNAMES[5]} was admitted"]
    voter = (*BEFORE.members[:4], replace(make_member(4), voter=True))
    assert told(BEFORE, members=voter) == [f"{HOSTNAMES[4]} votes now"]
    assert told(BEFORE, pending=(PENDING,)) == [f"{HOSTNAMES[6]} waits for approval"]
    assert told(BEFORE, clones=(CLONE,)) == [f"{HOSTNAMES[2]} has a clone, which is kept out"]


def test_many_members_at_once_are_one_event() -> None:
    dead = tuple(replace(member, state="dead") for member in BEFORE.members)
    assert told(BEFORE, members=dead) == [f"{', '.join(HOSTNAMES[:3])} and 2 more cannot be reached"]


def test_a_node_that_becomes_a_member_is_not_told_of_each_other() -> None:
    before = replace(BEFORE, members=(), phase=Phase.JOINING)
    assert told(before, members=BEFORE.members, phase=Phase.MEMBER) == ["it is a member"]


def test_a_lease_that_moves_is_told_with_its_epoch() -> None:
    moved = (LeaseStatus("coordinator", NODES[2], 5), LeaseStatus("archive", None, 0))
    assert told(BEFORE, leases=moved) == [f"{HOSTNAMES[2]} holds coordinator in epoch 5"]
    free = (LeaseStatus("coordinator", None, 4), LeaseStatus("archive", None, 0))
    assert told(BEFORE, leases=free) == ["nobody holds coordinator"]


def test_a_renewed_lease_is_no_event() -> None:
    renewed = (LeaseStatus("coordinator", NODES[1], 4, 5.5), LeaseStatus("archive", None, 0))
    assert told(BEFORE, leases=renewed) == []


def test_the_leader_of_raft_is_told() -> None:
    raft = RaftStatus("follower", NODES[2], 9, 77, (), (), True)
    assert told(BEFORE, raft=raft) == [f"{HOSTNAMES[2]} leads Raft in term 9"]
    assert told(BEFORE, raft=replace(raft, leader=None)) == ["no leader of Raft is known"]


def test_a_role_is_told_when_it_runs_or_fails_here() -> None:
    def role(state: str) -> tuple[RoleStatus, ...]:
        return (RoleStatus("archive", "leader", state, ""), BEFORE.roles[1])  # type: ignore[arg-type]

    assert told(BEFORE, roles=role("running")) == ["archive is running here"]
    assert told(replace(BEFORE, roles=role("running")), roles=role("failed")) == ["archive is failed here"]
    assert told(BEFORE, roles=role("starting")) == []
    assert told(replace(BEFORE, roles=role("running")), roles=role("elsewhere")) == []


def test_an_error_is_told_when_it_comes_and_when_it_goes() -> None:
    assert told(BEFORE, error="the disk is full") == ["error: the disk is full"]
    assert told(replace(BEFORE, error="the disk is full"), error=None) == ["the error is gone"]


def test_what_the_agent_does_over_and_over_is_told_now_and_then() -> None:
    status, times = replace(BEFORE, events=()), []
    for second in range(int(2 * QUIET) + 1):
        now = replace(BEFORE, published=1000.0 + second)
        status = replace(now, events=follow(status, now, "changed a mesh peer"))
    times = [event.at for event in status.events]
    assert times == [1000.0, 1000.0 + QUIET, 1000.0 + 2 * QUIET]


def test_a_role_is_not_told_twice() -> None:
    roles = (replace(BEFORE.roles[0], state="running", reason=""), BEFORE.roles[1])
    after = replace(BEFORE, roles=roles)
    events = follow(BEFORE, after, "set 1 mesh peer, archive is running, names has stopped")
    assert [event.text for event in events] == ["archive is running here", "set 1 mesh peer"]


@given(st.lists(any_status(), max_size=5), st.text(max_size=10))
def test_events_are_the_last_ones_in_order_whatever_happens(statuses: list[NodeStatus], done: str) -> None:
    before = None
    for number, status in enumerate(statuses):
        after = replace(status, published=float(number), events=())
        before = replace(after, events=follow(before, after, done))
        assert len(before.events) <= MOST
        assert list(before.events) == sorted(before.events, key=lambda event: event.at)
        assert NodeStatus.from_dict(before.to_dict()).node_id == before.node_id
