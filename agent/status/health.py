# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a node or its cluster, what to do about it, and the exit status that says so. Pure."""

from typing import Any

from agent.cluster import Phase
from agent.status.document import NodeStatus

HEALTHY, NOT_SET_UP, NOT_YET, PENDING, OUT, DEGRADED, STOPPED = 0, 3, 4, 5, 6, 7, 8

_EXIT_STATUS = {
    Phase.WAITING: NOT_YET,
    Phase.FORMING: NOT_YET,
    Phase.JOINING: NOT_YET,
    Phase.PENDING: PENDING,
    Phase.REMOVED: OUT,
    Phase.QUARANTINED: OUT,
}
_VOTING = ("leader", "follower", "candidate")
_RAFT_WORKS = ("leader", "follower", "observer")


def exit_status(status: NodeStatus) -> int:
    """Return the exit status of `node-agent status` for a running agent."""
    if status.phase is not Phase.MEMBER:
        return _EXIT_STATUS[status.phase]
    return DEGRADED if problems(status) else HEALTHY


def problems(status: NodeStatus) -> tuple[str, ...]:
    """Return what needs somebody's attention, a sentence each; nothing for a healthy member."""
    found = [f"last error: {status.error}"] if status.error else []
    found += [*_strangers(status), *status.warnings]
    if status.phase is Phase.MEMBER:
        found += [*_raft(status), *_members(status), *_mesh(status)]
        failed = (role for role in status.roles if role.state == "failed")
        found += [f"role {role.name} failed: {role.reason}" for role in failed]
    return tuple(found)


def notices(status: NodeStatus) -> tuple[str, ...]:
    """Return what is good to know and no fault."""
    found = []
    if status.pending and status.phase is Phase.MEMBER:
        count = "1 node waits" if len(status.pending) == 1 else f"{len(status.pending)} nodes wait"
        found.append(f"{count} for approval: compare fingerprints, then node-agent approve ID")
    if status.clock_synchronised is False:
        found.append("the clock of this node is not synchronised; see: chronyc sources")
    return tuple(found)


def advice(status: NodeStatus) -> str:
    """Return what a person has to do next in this phase; empty where nothing."""
    if status.phase is Phase.WAITING:
        if status.error:
            return "put right what the last error names; the agent looks again by itself"
        return (
            "give this machine the join credential of a cluster (./build.py cluster credential NAME), "
            "or here: node-agent join FILE"
        )
    if status.phase is Phase.FORMING and status.cluster is not None:
        if status.cluster.machines:
            majority = status.cluster.machines // 2 + 1
            planned = status.cluster.machines
            return f"switch on more machines: {majority} of the {planned} planned must see each other to form"
        return "switch on the machine with the founding credential"
    if status.phase is Phase.PENDING:
        return f"compare the fingerprint on a member, then there: node-agent approve {status.node_id}"
    if status.phase is Phase.REMOVED:
        return "it was removed for good; to use the machine again as a new node, wipe its /var"
    if status.phase is Phase.QUARANTINED:
        return (
            "a copied disk: switch the machine off, or wipe its /var to make it a new node; the same machine "
            f"with a new board: on a member, node-agent approve {status.node_id}"
        )
    return ""


def tell(status: NodeStatus, age: float) -> dict[str, Any]:
    """Return the document in plain JSON types, with what a person should know of it; `age` in seconds."""
    return {
        **status.to_dict(),
        "age": round(max(0.0, age), 3),
        "problems": list(problems(status)),
        "notices": list(notices(status)),
        "advice": advice(status),
    }


def _strangers(status: NodeStatus) -> list[str]:
    found = [
        f"a clone of node {clone.node_id} at {clone.address} (hardware {clone.hardware}) is kept out: "
        "switch it off, and wipe its /var to make it a new node"
        for clone in status.clones
    ]
    found += [
        f"another cluster of the same credential is here, genesis {other.genesis[:12]} with "
        f"{', '.join(other.nodes[:3]) or 'no node'}{' and more' if len(other.nodes) > 3 else ''}: nothing "
        "merges; wipe /var of the machines that should join this cluster"
        for other in status.foreign
    ]
    return found


def _raft(status: NodeStatus) -> list[str]:
    raft = status.raft
    if raft.role not in _RAFT_WORKS or raft.leader is None:
        voters = set(raft.voters)
        reached = set(raft.connected) | ({status.node_id} & voters)
        if raft.role not in _VOTING:
            # Without a vote, if only for now, Raft knows of the voters that it looks for: others, or none.
            voters = {member.node_id for member in status.members if member.voter}
            reached = {member.node_id for member in status.members if member.state == "alive"} & voters
        return [
            f"no leader: {len(reached)} of {len(voters)} voters can be reached, and a majority is needed; "
            "switch on more of them, or where they are lost for good: node-agent recover"
        ]
    return [] if raft.ready else ["it has not caught up with the cluster yet"]


def _members(status: NodeStatus) -> list[str]:
    # Unknown are those that have not been seen since this node's Serf was started.
    dead = [member for member in status.members if member.state != "alive"]
    if not dead:
        return []
    names = ", ".join(member.hostname for member in dead[:5])
    more = f" and {len(dead) - 5} more" if len(dead) > 5 else ""
    return [f"{len(dead)} of {len(status.members)} members cannot be reached: {names}{more}"]


def _mesh(status: NodeStatus) -> list[str]:
    if status.mesh is None:
        return ["the mesh is not up"]
    alive = {member.node_id for member in status.members if member.state == "alive"}
    down = [peer for peer in status.mesh.peers if peer.state == "down" and peer.node_id in alive]
    if not down:
        return []
    return [
        f"the mesh has no connection to {len(down)} of {len(alive)} living members: see node-agent members"
    ]
