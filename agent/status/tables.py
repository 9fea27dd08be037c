# SPDX-License-Identifier: Apache-2.0
"""The status document as aligned text for people. Pure."""

from collections.abc import Sequence

from agent.status import health
from agent.status.document import MeshPeerStatus, NodeStatus
from agent.status.names import known, short

_GAP = "  "


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under a header, columns as wide as what is in them; no spaces at the ends of lines."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [_GAP.join(map(str.ljust, row, widths)).rstrip() for row in (header, *rows)]
    return "\n".join(lines)


def overview(status: NodeStatus) -> str:
    """Return what `node-agent status` shows below its sentence."""
    lines = [("node", f"{status.node_id} ({status.hostname})"), ("phase", status.phase.name.lower())]
    if (cluster := status.cluster) is not None:
        genesis = f"genesis {cluster.genesis[:12]}" if cluster.genesis else "not formed yet"
        planned = f"{cluster.machines} machines planned" if cluster.machines else "founded by one medium"
        lines.append(("cluster", f"{cluster.name}, {genesis}, policy {cluster.policy.value}, {planned}"))
    elif not status.credential:
        lines.append(("cluster", "none: there is no join credential"))
    if status.members:
        lines.append(("members", members_in_words(status)))
    if (mesh := status.mesh) is not None:
        up = sum(peer.state == "up" for peer in mesh.peers)
        lines.append(("mesh", f"{mesh.interface} {mesh.ipv4} {mesh.ipv6}, MTU {mesh.mtu}"))
        lines.append(("mesh peers", f"{up} of {len(mesh.peers)} connected"))
    if status.raft.role != "off":
        lines.append(("raft", raft_in_words(status)))
    held = [lease.role for lease in status.leases if lease.holder == status.node_id]
    if held:
        lines.append(("roles", ", ".join(held)))
    if status.addresses:
        lines.append(("addresses", " ".join(status.addresses)))
    lines += [("problem", text) for text in health.problems(status)]
    lines += [("note", text) for text in health.notices(status)]
    if advice := health.advice(status):
        lines.append(("to do", advice))
    return "\n".join(f"{label:<12}{value}" for label, value in lines)


def roles(status: NodeStatus) -> str:
    """Return the roles of the image with where they stand here."""
    rows = [(role.name, role.kind, role.state, role.reason or "-") for role in status.roles]
    return table(("ROLE", "KIND", "HERE", "WHY"), rows) if rows else "this image has no roles"


def members(status: NodeStatus) -> str:
    """Return the members, and after them who waits and who was removed."""
    peers = {peer.node_id: peer for peer in status.mesh.peers} if status.mesh else {}
    rows = [
        (
            short(member.node_id),
            member.hostname,
            member.ipv4,
            member.state,
            duration(member.state_age),
            "leader" if member.leader else "voter" if member.voter else "-",
            "this node" if member.node_id == status.node_id else _mesh(peers.get(member.node_id)),
        )
        for member in status.members
    ]
    parts = [table(("NODE", "HOST NAME", "ADDRESS", "STATE", "SINCE", "RAFT", "MESH"), rows)] if rows else []
    for node in status.pending:
        # Whole, as people compare them before they approve.
        parts.append(
            f"waiting for approval\n  node         {node.node_id}\n  fingerprint  {node.fingerprint}\n"
            f"  hardware     {node.hardware}\n  reason       {node.reason}"
        )
    if status.clones:
        clones = [(clone.node_id, clone.hardware, clone.address) for clone in status.clones]
        parts.append("clones, kept out\n" + table(("NODE", "HARDWARE", "ADDRESS"), clones))
    if status.removed:
        parts.append("removed\n  " + "\n  ".join(status.removed))
    return "\n\n".join(parts) or "no members: this node knows of no cluster yet"


def leaders(status: NodeStatus) -> str:
    """Return who leads Raft, and who holds each role of which there is one."""
    names = known(status)
    rows = [
        (
            lease.role,
            short(lease.holder) if lease.holder else "-",
            names.get(lease.holder or "", "-"),
            lease.epoch,
        )
        for lease in status.leases
    ]
    text = f"raft: {raft_in_words(status)}"
    if not rows:
        return f"{text}\nno roles"
    shown = [(role, holder, name, str(epoch)) for role, holder, name, epoch in rows]
    return f"{text}\n\n{table(('ROLE', 'HOLDER', 'HOST NAME', 'EPOCH'), shown)}"


def members_in_words(status: NodeStatus) -> str:
    """Return how many members there are, and how they are, in one line."""
    states = [member.state for member in status.members]
    counts = [f"{states.count(state)} {state}" for state in ("alive", "dead", "unknown") if state in states]
    voters = sum(member.voter for member in status.members)
    return f"{len(states)} ({', '.join(counts)}), {voters} of them vote"


def raft_in_words(status: NodeStatus) -> str:
    """Return this node's place in Raft in one line."""
    raft = status.raft
    if raft.role == "off":
        return "not running"
    leader = known(status).get(raft.leader, short(raft.leader)) if raft.leader else "none"
    place = "this node leads" if raft.role == "leader" else f"{raft.role}, leader {leader}"
    return f"{place}, term {raft.term}, index {raft.commit_index}"


def duration(seconds: float | None) -> str:
    """Return a length of time for people: 5s, 3m, 7h, 2d."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def _mesh(peer: MeshPeerStatus | None) -> str:
    if peer is None:
        return "-"
    if peer.handshake_age is None:
        return f"{peer.state}, no handshake yet"
    return f"{peer.state}, {duration(peer.handshake_age)} ago" + (
        f" via {peer.endpoint}" if peer.endpoint else ""
    )
