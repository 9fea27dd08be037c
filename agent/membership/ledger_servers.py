# SPDX-License-Identifier: Apache-2.0
"""The commands of the ledger about roles of kind `servers`. Pure.

servers_choose, servers_drop, servers_ready, servers_let_go, servers_reset.

Some services keep replicated data themselves (etcd, databases): an odd few members run them, and one of them
must begin the data, once. Who is chosen here is committed before anything runs, so:

- One node in a generation is `first`, and no command changes that: not its death, not its removal. A second
  beginning would be a second set of data.
- Others are chosen one at a time, each after all before it have said that they run the role.
- The last one that has the data is never dropped.
- A new generation begins only when no server is left, each having been removed from the cluster, which is
  final: an operator gives the data up. Whoever was a server before does not count any more.

When to choose and to drop is for the Raft leader to decide (agent/roles/servers.py).
"""

from dataclasses import replace

from agent import wire
from agent.cluster import Genesis, Ledger, Server, Servers
from agent.errors import ClusterError
from agent.membership.ledger_leases import LAST, MAX_ROLES, read_role

MAX_SERVERS = 7
"""Servers of a role: more answer no quicker, as a majority has to agree."""
NONE = Servers("", 1, None, begun=False, nodes=(), gone=())
"""What is known of a role before anybody was chosen."""


def servers_of(ledger: Ledger, role: str) -> Servers:
    """Return what the ledger has of a role of kind `servers`."""
    return ledger.servers.get(role) or replace(NONE, role=role)


def choose(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Make a member a server; the first in a generation is the one that begins the role."""
    servers, node = _read(ledger, fields)
    if servers.role not in ledger.servers and len(ledger.servers) >= MAX_ROLES:
        raise ClusterError(f"there are {MAX_ROLES} roles of kind servers, and no more can be")
    if node not in ledger.members:
        raise ClusterError(f"{node} is no member, so it cannot be a server")
    if servers.find(node) is not None:
        raise ClusterError(f"{node} is a server of {servers.role} already")
    if node in servers.gone:
        raise ClusterError(f"{servers.role} has not let go of {node} yet, which was a server before")
    if len(servers.nodes) >= MAX_SERVERS:
        raise ClusterError(f"{servers.role} has {MAX_SERVERS} servers, and no more can be")
    if servers.first is not None and not servers.ready:
        raise ClusterError(f"nobody has the data of {servers.role}, so {node} cannot join")
    if not all(server.ready for server in servers.nodes):
        raise ClusterError(f"a server of {servers.role} does not run yet: they are added one at a time")
    chosen = Server(node, ledger.revision + 1, ready=False)
    changed = replace(servers, first=servers.first or node, nodes=(*servers.nodes, chosen))
    word = "joins" if servers.first else "begins"
    return _with(ledger, changed), f"{node} {word} {servers.role}"


def drop(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Make a server an ordinary member again: it is gone for too long."""
    servers, node = _read(ledger, fields)
    if servers.find(node) is None:
        raise ClusterError(f"{node} is no server of {servers.role}")
    if not set(servers.ready) - {node}:
        raise ClusterError(f"{node} may be the only one that has the data of {servers.role}")
    return _with(ledger, let_go_of(servers, node)), f"{node} is no server of {servers.role} any more"


def ready(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Note that a server runs the role, as it says itself."""
    servers, node = _read(ledger, fields)
    server = servers.find(node)
    if server is None or server.ready:
        raise ClusterError(f"{node} is no server of {servers.role} of which nothing was heard yet")
    nodes = tuple(replace(each, ready=True) if each is server else each for each in servers.nodes)
    return _with(ledger, replace(servers, begun=True, nodes=nodes)), f"{node} runs {servers.role}"


def let_go(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Note that the role has no trace any more of a former server or a removed member."""
    servers, node = _read(ledger, fields)
    if node not in servers.gone:
        raise ClusterError(f"{servers.role} has let go of {node} already")
    changed = replace(servers, gone=_without(servers.gone, node))
    return _with(ledger, changed), f"{servers.role} has let go of {node}"


def reset(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Have the role begin anew, as an operator decided: nobody is left that has its data."""
    role, generation = read_role(fields), fields.integer("generation", 1, LAST)
    fields.done()
    servers = ledger.servers.get(role)
    if servers is None or servers.first is None:
        raise ClusterError(f"{role} has not begun, or is no role of kind servers")
    if servers.generation != generation:
        raise ClusterError(f"{role} is in generation {servers.generation} by now")
    if servers.nodes:
        raise ClusterError(
            f"{', '.join(server.node_id for server in servers.nodes)} may have the data of {role}: "
            "start it again; or remove it from the cluster, and the data is lost"
        )
    begun = replace(NONE, role=role, generation=generation + 1)
    return _with(ledger, begun), f"{role} begins anew, in generation {generation + 1}"


def let_go_of(servers: Servers, node: str) -> Servers:
    """Return the servers without a node, which leaves a trace where the role has begun."""
    nodes = tuple(server for server in servers.nodes if server.node_id != node)
    gone = tuple(sorted({*servers.gone, node})) if servers.begun else servers.gone
    return replace(servers, nodes=nodes, gone=gone)


def _read(ledger: Ledger, fields: wire.Fields) -> tuple[Servers, str]:
    """Return the servers that a command is about, as its author saw them, and its node."""
    role, node = read_role(fields), fields.node("node")
    seen = fields.integer("generation", 1, LAST), fields.nodes("seen", most=MAX_SERVERS)
    fields.done()
    servers = servers_of(ledger, role)
    if seen != (servers.generation, tuple(server.node_id for server in servers.nodes)):
        raise ClusterError(f"the servers of {role} are others by now")
    return servers, node


def _with(ledger: Ledger, servers: Servers) -> Ledger:
    return replace(ledger, servers={**ledger.servers, servers.role: servers})


def _without(gone: tuple[str, ...], node: str) -> tuple[str, ...]:
    return tuple(each for each in gone if each != node)
