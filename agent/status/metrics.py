# SPDX-License-Identifier: Apache-2.0
"""A status document as metrics: Prometheus' text format 0.0.4. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/. Names follow its conventions: base units,
`_total` for what only grows, and a state as one series for each value it can have, 1 for the one that holds.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent.cluster import Phase
from agent.status.document import NodeStatus
from agent.status.health import problems

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_RAFT_ROLES = ("leader", "follower", "candidate", "observer", "off")

Sample = tuple[Mapping[str, str], float]


class Metric(NamedTuple):
    name: str
    type: str  # gauge or counter
    help: str
    samples: tuple[Sample, ...]


def render(status: NodeStatus, now: float) -> str:
    """Return the metrics of `status`; `now` is CLOCK_MONOTONIC in seconds, as the document's `published`."""
    age = max(0.0, now - status.published)
    metrics = (*_node(status, age), *_members(status), *_mesh(status, age), *_raft(status), *_roles(status))
    return "".join(_show(metric) for metric in metrics if metric.samples)


def _node(status: NodeStatus, age: float) -> Iterable[Metric]:
    about = {"node_id": status.node_id, "hostname": status.hostname}
    if status.cluster is not None:
        about |= {"cluster": status.cluster.name, "genesis": status.cluster.genesis or ""}
    yield _one("info", "Who this node is, and its cluster.", 1, about)
    yield _states(
        "phase", "Where the node stands.", (p.name.lower() for p in Phase), status.phase.name.lower()
    )
    yield _one(
        "problems", "Things that need attention, as node-agent status lists them.", len(problems(status))
    )
    yield _one("status_age_seconds", "Since the last tick that published; grows when the agent hangs.", age)
    yield _one("ticks_total", "Ticks of the agent's loop.", status.tick.count, type="counter")
    yield _one("tick_seconds", "How long the last tick took.", status.tick.last)
    yield _one("tick_p95_seconds", "How long 95 % of the last ticks took at most.", status.tick.p95)
    if status.clock_synchronised is not None:
        yield _one("clock_synchronised", "Whether the wall clock is synchronised.", status.clock_synchronised)


def _members(status: NodeStatus) -> Iterable[Metric]:
    states = [member.state for member in status.members]
    yield _many(
        "members",
        "Admitted nodes by what gossip says of them.",
        [({"state": state}, states.count(state)) for state in ("alive", "dead", "unknown")],
    )
    yield _one("members_pending", "Nodes that wait for approval.", len(status.pending))
    yield _one("members_removed", "Nodes that were removed for good.", len(status.removed))
    yield _one(
        "clones", "Machines that show the node ID of a member from other hardware.", len(status.clones)
    )
    yield _one("foreign_clusters", "Other clusters of the same credential.", len(status.foreign))


def _mesh(status: NodeStatus, age: float) -> Iterable[Metric]:
    if status.mesh is None:
        return
    peers = status.mesh.peers
    states = [peer.state for peer in peers]
    labels = [{"peer": peer.node_id} for peer in peers]
    yield _many(
        "mesh_peers",
        "WireGuard peers by state.",
        [({"state": state}, states.count(state)) for state in ("up", "down", "unknown")],
    )
    yield _many(
        "mesh_handshake_age_seconds",
        "Since the last handshake with a peer.",
        [
            (label, max(0.0, peer.handshake_age) + age)
            for label, peer in zip(labels, peers, strict=True)
            if peer.handshake_age is not None
        ],
    )
    received = [(label, float(peer.received)) for label, peer in zip(labels, peers, strict=True)]
    sent = [(label, float(peer.sent)) for label, peer in zip(labels, peers, strict=True)]
    yield _many("mesh_received_bytes_total", "Received from a peer.", received, type="counter")
    yield _many("mesh_sent_bytes_total", "Sent to a peer.", sent, type="counter")


def _raft(status: NodeStatus) -> Iterable[Metric]:
    raft = status.raft
    yield _states("raft_role", "What this node is in Raft.", _RAFT_ROLES, raft.role)
    yield _one("raft_is_leader", "Whether this node leads.", raft.role == "leader")
    yield _one("raft_has_leader", "Whether this node knows a leader.", raft.leader is not None)
    yield _one("raft_ready", "Whether it has all that was committed when it started.", raft.ready)
    yield _one("raft_term", "The term.", raft.term)
    yield _one("raft_commit_index", "The last entry known to be committed.", raft.commit_index)
    yield _one("raft_voters", "Voters.", len(raft.voters))
    yield _one("raft_voters_connected", "Voters with a connection to this node.", len(raft.connected))


def _roles(status: NodeStatus) -> Iterable[Metric]:
    yield _many(
        "lease_holder",
        "Who holds a role.",
        [({"role": lease.role, "holder": lease.holder}, 1) for lease in status.leases if lease.holder],
    )
    yield _many(
        "lease_held",
        "Whether this node holds a role.",
        [({"role": lease.role}, lease.holder == status.node_id) for lease in status.leases],
    )
    yield _many(
        "lease_epoch",
        "Grows with every new holder of a role.",
        [({"role": lease.role}, lease.epoch) for lease in status.leases],
    )
    yield _many(
        "role_figure",
        "What a role that runs here counts of itself.",
        [
            ({"role": role.name, "figure": name}, value)
            for role in status.roles
            for name, value in role.figures.items()
        ],
    )
    yield _many(
        "secret_version",
        "The version of a secret that members share.",
        [({"name": name}, version) for name, version in status.secrets.items()],
    )


def _one(
    name: str, help: str, value: float, labels: Mapping[str, str] | None = None, *, type: str = "gauge"
) -> Metric:
    return Metric(f"clusteros_{name}", type, help, ((labels or {}, value),))


def _many(name: str, help: str, samples: Iterable[Sample], *, type: str = "gauge") -> Metric:
    return Metric(f"clusteros_{name}", type, help, tuple(samples))


def _states(name: str, help: str, states: Iterable[str], now: str) -> Metric:
    return _many(name, help, [({"state": state}, state == now) for state in states])


def _show(metric: Metric) -> str:
    lines = [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.type}"]
    for labels, value in metric.samples:
        shown = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
        number = repr(value) if isinstance(value, float) else str(int(value))
        lines.append(f"{metric.name}{'{' + shown + '}' if shown else ''} {number}")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
