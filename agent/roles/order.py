# SPDX-License-Identifier: Apache-2.0
"""What agent and supervisor say to each other about roles. Pure; version 1.

The agent decides which roles this node has and until when; it runs as a user of its own. The supervisor,
which is root, renders files, starts and stops units. One line of JSON each way over
/run/cluster-os-roles/supervisor.sock, then the connection ends: an order, answered by a report. An order
holds all there is to know, so a lost one is made good by the next. It holds secrets, and password hashes.

Times are CLOCK_BOOTTIME, in seconds: the same clock in every process of one boot, and it goes on while the
machine sleeps.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from agent.errors import ClusterError
from agent.roles.figures import MOST
from agent.roles.role_file import NAME, SECRET
from agent.status import schema
from agent.status.document import NodeId
from agent.status.schema import Range, Text
from agent.users.user import User

MAX_ORDER = 4 << 20  # bytes
MAX_REPORT = 1 << 20
RoleName = Annotated[str, Text(NAME)]
HostName = Annotated[str, Text(r"n-[0-9a-z]{1,10}")]
Ipv4 = Annotated[str, Text(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")]
Ipv6 = Annotated[str, Text(r"[0-9a-f:]{2,39}")]
Figure = Annotated[int, Range(0, MOST)]
Epoch = Annotated[int, Range(0, 1 << 62)]


@dataclass(frozen=True)
class OrderedRole:
    """A role that this node has. `until`: when its units must have been told to stop; None: no end."""

    name: RoleName
    epoch: Epoch  # of the lease; 0: a role without one
    until: float | None


@dataclass(frozen=True)
class Host:
    """A member, as templates see it."""

    node_id: NodeId
    hostname: HostName
    ipv4: Ipv4
    ipv6: Ipv6
    voter: bool


@dataclass(frozen=True)
class Holder:
    """Who holds a role of kind leader; `address` is the role's own, which moves with it."""

    role: RoleName
    hostname: HostName
    node_id: NodeId
    address: Ipv6
    epoch: Epoch


@dataclass(frozen=True)
class ServerHost(Host):
    """A member that runs a role of kind servers."""

    ready: bool  # it has run it


@dataclass(frozen=True)
class ServerGroup:
    """The servers of a role of kind servers; `address` is the role's own, which is at one that runs it."""

    role: RoleName
    generation: Epoch  # grows when an operator has it begin anew, without its data
    first: NodeId | None  # who alone begins it
    begun: bool  # it was begun: nobody begins it again
    address: Ipv6
    nodes: tuple[ServerHost, ...]  # in the order in which they were chosen


@dataclass(frozen=True)
class Gone:
    """A former server or member, of which the role here has to let go."""

    role: RoleName
    node_id: NodeId
    hostname: HostName


@dataclass(frozen=True)
class DeliveredSecret:
    """A secret in base64, with its version."""

    name: Annotated[str, Text(SECRET)]
    version: Epoch
    value: Annotated[str, Text(r"[A-Za-z0-9+/]{22,5464}={0,2}")] = field(repr=False)


@dataclass(frozen=True)
class Order:
    """All that the supervisor has to know."""

    cluster: Annotated[str, Text(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")]  # name of the cluster
    ipv4_range: Annotated[str, Text(r"[0-9./]{9,18}")]
    ipv6_range: Annotated[str, Text(r"[0-9a-f:/]{4,43}")]
    me: Host | None  # None: it is no member
    members: tuple[Host, ...]
    holders: tuple[Holder, ...]
    roles: tuple[OrderedRole, ...]
    secrets: tuple[DeliveredSecret, ...] = field(repr=False)
    servers: tuple[ServerGroup, ...] = ()
    gone: tuple[Gone, ...] = ()
    interface: Annotated[str, Text(r"[A-Za-z0-9_.-]{0,15}")] = ""  # of the mesh
    users: tuple[User, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class RoleState:
    """What became of an ordered role. `waiting`: for what `reason` says."""

    name: RoleName
    epoch: Epoch
    state: Literal["starting", "running", "stopping", "waiting", "failed"]
    reason: str
    figures: Mapping[str, Figure] = field(default_factory=dict)  # what it counts of itself


@dataclass(frozen=True)
class Report:
    """What the supervisor has."""

    roles: tuple[RoleState, ...]
    let_go: tuple[Gone, ...] = ()  # those of the order of which a role has let go


def without_times(order: Order) -> Order:
    """Return an order without the ends of its leases: what is to be done, not for how long."""
    roles = (replace(role, until=None if role.until is None else 0.0) for role in order.roles)
    return replace(order, roles=tuple(roles))


def encode_order(order: Order) -> bytes:
    """Return the line that orders. Secret."""
    return _encode(order, MAX_ORDER)


def decode_order(line: bytes) -> Order:
    """Return the order in `line`, checked; ClusterError for anything else."""
    return schema.decode(Order, _parse(line, MAX_ORDER), "order")


def encode_report(report: Report) -> bytes:
    """Return the line that reports."""
    return _encode(report, MAX_REPORT)


def decode_report(line: bytes) -> Report:
    """Return the report in `line`, checked; ClusterError for anything else."""
    return schema.decode(Report, _parse(line, MAX_REPORT), "report")


def _encode(record: Order | Report, limit: int) -> bytes:
    content: Mapping[str, object] = {"version": 1, **schema.encode(record)}
    line = json.dumps(content, allow_nan=False).encode() + b"\n"
    if len(line) > limit:
        raise ClusterError(f"a message about roles has {len(line)} bytes; {limit} at most may be")
    return line


def _parse(line: bytes, limit: int) -> dict[str, object]:
    try:
        content = json.loads(line) if len(line) <= limit and line[-1:] == b"\n" else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.pop("version", None) != 1:
        raise ClusterError("that is no message about roles of version 1", hint="restart clusteros-agent")
    return content
