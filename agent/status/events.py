# SPDX-License-Identifier: Apache-2.0
"""What happened, from one status document to the next: the last MOST events, in sentences. Pure.

For people who look at a page (agent/status/page.html) after something happened; the journal has all of it.
"""

from collections.abc import Callable, Iterable

from agent.cluster import Phase
from agent.status.document import EventStatus, NodeStatus
from agent.status.names import known, short

MOST = 50
NAMED = 3
"""So many nodes to which the same thing happened are named."""
QUIET = 300.0
"""Seconds in which the same act of the agent is not told again: the mesh tries some things over and over."""

_PASSING = ("starting", "stopping", "elsewhere")
"""States of roles that are not told: what comes next is, and of who has it elsewhere the lease tells."""

_Said = list[tuple[str, str]]
PHASES = {
    Phase.WAITING: "it waits for a join credential",
    Phase.FORMING: "it forms a cluster with others",
    Phase.JOINING: "it asks to join the cluster",
    Phase.PENDING: "it waits for an operator's approval",
    Phase.MEMBER: "it is a member",
    Phase.REMOVED: "it was removed from the cluster",
    Phase.QUARANTINED: "it is quarantined",
}


def follow(before: NodeStatus | None, after: NodeStatus, done: str = "") -> tuple[EventStatus, ...]:
    """Return the events as of `after`; `before` is the last tick's document, `done` what this tick did."""
    events = list(before.events) if before is not None else []
    said = (
        [("node", f"the agent started: {PHASES[after.phase]}")] if before is None else _changes(before, after)
    )
    # Of roles tells what became of them.
    names = {role.name for role in after.roles}
    done = ", ".join(part for part in done.split(", ") if part.partition(" ")[0] not in names)
    lately = {event.text for event in events if event.kind == "done" and after.published - event.at < QUIET}
    if done and done not in lately:
        said.append(("done", done))
    events += [EventStatus(after.published, kind, text) for kind, text in said]  # type: ignore[arg-type]
    return tuple(events[-MOST:])


def _changes(before: NodeStatus, after: NodeStatus) -> _Said:
    return [
        *_node(before, after),
        *_members(before, after),
        *_raft(before, after),
        *_leases(before, after),
        *_roles(before, after),
    ]


def _node(before: NodeStatus, after: NodeStatus) -> _Said:
    said: _Said = []
    if after.phase is not before.phase:
        said.append(("node", PHASES[after.phase]))
    if after.error and after.error != before.error:
        said.append(("node", f"error: {after.error}"))
    elif before.error and not after.error:
        said.append(("node", "the error is gone"))
    return said


def _members(before: NodeStatus, after: NodeStatus) -> _Said:
    names = known(before) | known(after)
    old = {member.node_id: member for member in before.members}
    new = {member.node_id: member for member in after.members}
    both = [(old[node], new[node]) for node in new if node in old]

    def became(state: str) -> Iterable[str]:
        return (now.node_id for then, now in both if now.state == state != then.state)

    # A node that becomes a member learns of all others at once.
    joined = new.keys() - old.keys() if old else ()
    waiting = {node.node_id for node in after.pending} - {node.node_id for node in before.pending}
    copies = {clone.node_id for clone in after.clones} - {clone.node_id for clone in before.clones}
    found = (
        (joined, "was admitted", "were admitted"),
        (old.keys() - new.keys() if new else (), "is no member any more", "are no members any more"),
        (became("dead"), "cannot be reached", "cannot be reached"),
        (became("alive"), "is there", "are there"),
        ((now.node_id for then, now in both if now.voter > then.voter), "votes now", "vote now"),
        (
            (now.node_id for then, now in both if now.voter < then.voter),
            "does not vote now",
            "do not vote now",
        ),
        (waiting, "waits for approval", "wait for approval"),
        (copies, "has a clone, which is kept out", "have clones, which are kept out"),
    )
    return [
        ("member", _name(nodes, one, many, lambda node: names.get(node, short(node))))
        for nodes, one, many in ((sorted(nodes), one, many) for nodes, one, many in found)
        if nodes
    ]


def _raft(before: NodeStatus, after: NodeStatus) -> _Said:
    if after.raft.leader == before.raft.leader:
        return []
    if after.raft.leader is None:
        return [("raft", "no leader of Raft is known")]
    leader = known(after).get(after.raft.leader, short(after.raft.leader))
    return [("raft", f"{leader} leads Raft in term {after.raft.term}")]


def _leases(before: NodeStatus, after: NodeStatus) -> _Said:
    names = known(after)
    old = {lease.role: lease for lease in before.leases}
    said: _Said = []
    for lease in after.leases:
        then = old.get(lease.role)
        if then is not None and (then.holder, then.epoch) == (lease.holder, lease.epoch):
            continue
        if lease.holder is None:
            said.append(("lease", f"nobody holds {lease.role}"))
        else:
            holder = names.get(lease.holder, short(lease.holder))
            said.append(("lease", f"{holder} holds {lease.role} in epoch {lease.epoch}"))
    return said


def _roles(before: NodeStatus, after: NodeStatus) -> _Said:
    old = {role.name: role.state for role in before.roles}
    return [
        ("role", f"{role.name} is {role.state} here{f': {role.reason}' if role.reason else ''}")
        for role in after.roles
        if role.state not in (old.get(role.name), *_PASSING)
    ]


def _name(nodes: list[str], one: str, many: str, name: Callable[[str], str]) -> str:
    if len(nodes) == 1:
        return f"{name(nodes[0])} {one}"
    more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
    return f"{', '.join(map(name, nodes[:NAMED]))}{more} {many}"
