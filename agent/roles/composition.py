# SPDX-License-Identifier: Apache-2.0
"""Put together what the supervisor is told, and what a person is told of roles. Pure."""

from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping

from agent.cluster import Genesis, Ledger, Member, Servers
from agent.identity import identity_of_node_id
from agent.membership.addresses import mesh_ipv6, mesh_network, role_ipv6
from agent.roles.candidates import COORDINATOR
from agent.roles.order import (
    DeliveredSecret,
    Gone,
    Holder,
    Host,
    Order,
    OrderedRole,
    Report,
    ServerGroup,
    ServerHost,
)
from agent.roles.role import Kind, Roles
from agent.roles.servers import describe
from agent.status.document import RoleStatus
from agent.users.user import User

MOST_GONE = 16
"""Former members of a role that one order names; the others follow."""


def list_addresses(
    cluster_id: str, ledger: Ledger, me: str, acting: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Return the addresses of roles by node: of this one those of `acting`, of others by the ledger."""
    own = [str(role_ipv6(cluster_id, role)) for role in acting if _has_place(role)]
    found: dict[str, list[str]] = {me: own}
    for lease in ledger.leases.values():
        holder = lease.holder
        if holder is not None and holder in ledger.members and holder != me and _has_place(lease.role):
            found.setdefault(holder, []).append(str(role_ipv6(cluster_id, lease.role)))
    return {node: tuple(sorted(addresses)) for node, addresses in found.items() if addresses}


def _has_place(role: str) -> bool:
    """Whether a role has an address of its own: the coordinator serves nobody."""
    return role != COORDINATOR


def list_ordered(
    roles: Roles, obstacles: Mapping[str, str], held: Iterable[tuple[str, int, float]]
) -> tuple[OrderedRole, ...]:
    """Return the roles of the other kinds; `held`: of each lease the role, the epoch, and until when."""
    every = [
        OrderedRole(role.name, 0, None)
        for role in roles.values()
        if role.kind is Kind.EVERY and role.name not in obstacles
    ]
    leading = (lease for lease in held if lease[0] in roles and roles[lease[0]].kind is Kind.LEADER)
    return (*every, *(OrderedRole(*lease) for lease in leading))


def list_served(roles: Roles, ledger: Ledger, me: str, *, fresh: bool) -> tuple[OrderedRole, ...]:
    """Return the roles of kind servers of which this node is one; who is chosen again begins a new epoch.

    Who was off for long may have a ledger by which it begins a role that another one has begun since. So it
    begins none unless the ledger is `fresh`: has all that was committed when this node started.
    """
    found = []
    for role in roles.values():
        servers = ledger.servers.get(role.name)
        server = servers.find(me) if servers is not None and role.kind is Kind.SERVERS else None
        if servers is not None and server is not None and (servers.begun or fresh):
            found.append(OrderedRole(role.name, server.since, None))
    return tuple(found)


def find_conflicts(roles: Roles, ledger: Ledger, me: str, coming: Collection[str]) -> dict[str, str]:
    """Return the roles that do not run here, as this node has another one, and why.

    `coming`: the roles of kind servers for which this node is going to be chosen.
    """
    found = {}
    for role in roles.values():
        for name in role.unless:
            servers = ledger.servers.get(name)
            if servers is not None and servers.find(me) is not None:
                found[role.name] = f"it has {name}"
            elif servers is not None and me in servers.gone:
                found[role.name] = f"{name} has not let go of it yet"
            elif name in coming:
                found[role.name] = f"it may get {name}"
    return found


def compose_order(
    me: str,
    genesis: Genesis,
    ledger: Ledger,
    ordered: tuple[OrderedRole, ...],
    secrets: Mapping[str, bytes],
    *,
    cleans: Iterable[str] = (),
    interface: str = "",
    users: Iterable[User] = (),
) -> Order:
    """Return the order. `cleans`: the roles of kind servers that let go of former members here."""
    cluster_id = genesis.cluster_id
    hosts = {
        node: _host(cluster_id, member, voter=node in ledger.voters)
        for node, member in sorted(ledger.members.items())
    }
    holders = tuple(
        Holder(
            lease.role,
            hosts[lease.holder].hostname,
            lease.holder,
            str(role_ipv6(cluster_id, lease.role)),
            lease.epoch,
        )
        for lease in sorted(ledger.leases.values(), key=lambda lease: lease.role)
        if lease.holder in hosts
    )
    return Order(
        cluster=genesis.name,
        ipv4_range=genesis.ipv4_range,
        ipv6_range=str(mesh_network(cluster_id)),
        me=hosts.get(me),
        members=tuple(hosts.values()),
        holders=holders,
        roles=ordered,
        secrets=tuple(
            DeliveredSecret(name, ledger.secrets[name].version, b64encode(secrets[name]).decode())
            for name in sorted(secrets)
        ),
        servers=tuple(
            _group(cluster_id, ledger.servers[role], hosts)
            for role in sorted(ledger.servers)
            if ledger.servers[role].first is not None
        ),
        gone=tuple(
            Gone(role, node, identity_of_node_id(node).hostname)
            for role in sorted(cleans)
            if role in ledger.servers
            for node in ledger.servers[role].gone[:MOST_GONE]
        ),
        interface=interface,
        users=tuple(users),
    )


def list_states(
    roles: Roles, obstacles: Mapping[str, str], ledger: Ledger | None, report: Report | None
) -> tuple[RoleStatus, ...]:
    """Return where each role of the image stands on this node, with the reason."""
    reported = {state.name: state for state in report.roles} if report is not None else {}
    leases = ledger.leases if ledger is not None else {}
    found = []
    for role in roles.values():
        state, lease = reported.get(role.name), leases.get(role.name)
        if state is not None:
            found.append(RoleStatus(role.name, role.kind.value, state.state, state.reason, state.figures))
        elif role.name in obstacles:
            found.append(RoleStatus(role.name, role.kind.value, "unfit", obstacles[role.name]))
        elif role.kind is Kind.SERVERS:
            reason = describe(ledger.servers.get(role.name)) if ledger is not None else "nobody has it"
            found.append(RoleStatus(role.name, "servers", "elsewhere", reason))
        elif role.kind is Kind.LEADER and lease is not None and lease.holder is not None:
            holder = identity_of_node_id(lease.holder).hostname
            found.append(RoleStatus(role.name, "leader", "elsewhere", f"{holder} has it"))
        elif role.kind is Kind.LEADER:
            found.append(RoleStatus(role.name, "leader", "elsewhere", "nobody has it"))
        else:
            found.append(RoleStatus(role.name, "every", "waiting", "the supervisor has not begun it"))
    return tuple(found)


def _group(cluster_id: str, servers: Servers, hosts: Mapping[str, Host]) -> ServerGroup:
    return ServerGroup(
        servers.role,
        servers.generation,
        servers.first,
        servers.begun,
        str(role_ipv6(cluster_id, servers.role)),
        tuple(
            ServerHost(**vars(hosts[each.node_id]), ready=each.ready)
            for each in servers.nodes
            if each.node_id in hosts
        ),
    )


def _host(cluster_id: str, member: Member, *, voter: bool) -> Host:
    node_id = member.node_id
    hostname = identity_of_node_id(node_id).hostname
    return Host(node_id, hostname, member.ipv4, str(mesh_ipv6(cluster_id, node_id)), voter)
