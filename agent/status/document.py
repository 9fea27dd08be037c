# SPDX-License-Identifier: Apache-2.0
"""The status document: all that a node says about itself, as one frozen record. Pure; version 1.

The agent makes one after every tick. Commands get it through the control socket, the console and readers
without privileges from /run/cluster-os/status.json (agent/status/published.py). It holds no secret.

Ages are seconds at the moment `published`, which is CLOCK_MONOTONIC: the same clock in every process of one
boot, and right also while the wall clock is wrong.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from agent.cluster import Phase, Policy, RaftStatus
from agent.errors import ClusterError
from agent.status import schema
from agent.status.schema import Range, Text

VERSION = 1
MAX_BYTES = 4 << 20
NODE_ID = r"[1-9A-HJ-NP-Za-km-z]{32,44}"

NodeId = Annotated[str, Text(NODE_ID)]
Hash = Annotated[str, Text(r"[0-9a-f]{64}")]
Count = Annotated[int, Range(0, (1 << 63) - 1)]
Port = Annotated[int, Range(0, 65535)]
NO_RAFT = RaftStatus("off", None, 0, 0, (), (), False)


@dataclass(frozen=True)
class ClusterStatus:
    """The cluster that the credential names."""

    name: str
    cluster_id: str
    genesis: Hash | None  # None while it forms
    generation: Count  # grows when a lost quorum was given up
    policy: Policy
    machines: Count  # planned; 0: only a founding medium founds


@dataclass(frozen=True)
class MeshPeerStatus:
    """A WireGuard peer. `up`: a fresh handshake; `down`: none for too long; `unknown`: none yet."""

    node_id: NodeId
    endpoint: str | None  # address:port
    handshake_age: float | None  # seconds
    state: Literal["up", "down", "unknown"]
    received: Count  # bytes
    sent: Count


@dataclass(frozen=True)
class MeshStatus:
    """This node's end of the mesh."""

    interface: str
    ipv4: str
    ipv6: str
    mtu: Count
    port: Port
    peers: tuple[MeshPeerStatus, ...] = ()


@dataclass(frozen=True)
class MemberStatus:
    """An admitted node, this one included. `state` is what gossip says of it."""

    node_id: NodeId
    hostname: str
    ipv4: str
    ipv6: str
    state: Literal["alive", "dead", "unknown"]
    voter: bool
    leader: bool  # of Raft
    state_age: float | None  # seconds that it has been in this state


@dataclass(frozen=True)
class PendingStatus:
    """A node that holds the credential and waits for an operator."""

    node_id: NodeId
    fingerprint: str  # SHA256:…, also on its own console
    hardware: str
    reason: str


@dataclass(frozen=True)
class CloneStatus:
    """A machine that shows the node ID of a member from other hardware."""

    node_id: NodeId
    hardware: str
    address: str  # where gossip sees it


@dataclass(frozen=True)
class ForeignStatus:
    """Another cluster instance with our cluster's credential: nothing merges."""

    genesis: Hash
    nodes: tuple[NodeId, ...]


@dataclass(frozen=True)
class LeaseStatus:
    """Who holds a role of which there is one in the cluster."""

    role: str
    holder: NodeId | None
    epoch: Count
    left: float | None = None  # seconds until it ends unless it is renewed; its holder alone knows


@dataclass(frozen=True)
class RoleStatus:
    """A role of the image on this node. `unfit`: the machine lacks what `reason` says."""

    name: str
    kind: Literal["leader", "servers", "every"]
    state: Literal["starting", "running", "stopping", "waiting", "failed", "elsewhere", "unfit"]
    reason: str
    figures: Mapping[str, Count] = field(default_factory=dict)  # what it counts of itself


@dataclass(frozen=True)
class EventStatus:
    """Something that happened, as this node saw it (agent/status/events.py)."""

    at: float  # CLOCK_MONOTONIC, as `published`
    kind: Literal["node", "member", "raft", "lease", "role", "done"]
    text: str


@dataclass(frozen=True)
class TickStatus:
    """How the agent's loop does."""

    count: Count = 0
    last: float = 0.0  # seconds
    p95: float = 0.0  # seconds, of the last ticks


@dataclass(frozen=True)
class NodeStatus:
    """Where one node stands at one moment."""

    node_id: NodeId
    fingerprint: str
    hostname: str
    phase: Phase
    sentence: str  # what the last tick said
    published: float  # CLOCK_MONOTONIC, seconds
    error: str | None = None  # the last one, until a tick succeeds
    credential: bool = False  # is there one?
    addresses: tuple[str, ...] = ()  # of the underlay
    cluster: ClusterStatus | None = None
    mesh: MeshStatus | None = None
    members: tuple[MemberStatus, ...] = ()
    pending: tuple[PendingStatus, ...] = ()
    removed: tuple[NodeId, ...] = ()
    clones: tuple[CloneStatus, ...] = ()
    foreign: tuple[ForeignStatus, ...] = ()
    warnings: tuple[str, ...] = ()  # what else a person should know, a sentence each
    raft: RaftStatus = NO_RAFT
    leases: tuple[LeaseStatus, ...] = ()
    roles: tuple[RoleStatus, ...] = ()
    secrets: Mapping[str, Count] = field(default_factory=dict)  # name -> version
    events: tuple[EventStatus, ...] = ()  # the last ones, oldest first
    tick: TickStatus = TickStatus()
    clock_synchronised: bool | None = None  # None: nobody knows

    def to_dict(self) -> dict[str, Any]:
        """Return the document in plain JSON types."""
        return {"version": VERSION, **schema.encode(self)}

    @classmethod
    def from_dict(cls, data: object, where: str = "status") -> "NodeStatus":
        """Return the document in `data`, parsed JSON; ClusterError when it is not exactly version 1."""
        if not isinstance(data, dict) or type(data.get("version")) is not int:
            raise ClusterError(f"{where} is not a status document", hint="restart clusteros-agent")
        if data["version"] != VERSION:
            raise ClusterError(
                f"{where} has another version than {VERSION}",
                hint="the agent that runs is of another image than this command: restart clusteros-agent",
            )
        return schema.decode(cls, {key: item for key, item in data.items() if key != "version"}, where)


def encode(status: NodeStatus) -> bytes:
    """Return the JSON form, one line."""
    return json.dumps(status.to_dict(), allow_nan=False).encode() + b"\n"


def decode(data: bytes, where: str) -> NodeStatus:
    """Return the document in `data`, the content of the file named `where`; ClusterError when it is none."""
    try:
        content = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        content = None
    return NodeStatus.from_dict(content, where)
