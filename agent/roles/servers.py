# SPDX-License-Identifier: Apache-2.0
"""Which members run a role of kind `servers`: the next change of them, one at a time. Pure.

There are as many as members qualify, rounded down to an odd number, at most `count`: of an even number one
more may not fail than of the odd number below it. Changes pass through even numbers, as each is of one
server; and two that are left of three, with nobody to come in, stay two, as a majority of two is both of
them: the one that goes would take the data from the other.

They stay where they are. One that is away, be it for a reboot or a repair, is waited for; when it was away
for longer than the role allows, and somebody else qualifies, and most of the servers run, it is dropped, and
when the role has let go of it, the other one is chosen.

What must hold whatever is decided here is in the ledger's commands (agent/membership/ledger_servers.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.cluster import Ledger, Servers
from agent.identity import identity_of_node_id
from agent.membership.ledger_servers import MAX_SERVERS, servers_of
from agent.membership.ledger_voters import largest_odd


@dataclass(frozen=True)
class Limits:
    """What role.yaml says: how many servers at most (odd), after how many seconds one is replaced."""

    count: int
    replace_after: float


@dataclass(frozen=True)
class Step:
    """A change to commit, with the ledger that it was decided on."""

    kind: Literal["choose", "drop"]
    role: str
    node: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """The next step, and how things stand in words for a person."""

    step: Step | None
    reason: str


def watch(
    away: Mapping[str, float], ledger: Ledger, alive: Collection[str], now: float
) -> Mapping[str, float]:
    """Return since when each server is away, as far as this node has seen; `alive` are the nodes there."""
    nodes = {server.node_id for servers in ledger.servers.values() for server in servers.nodes}
    return {node: away.get(node, now) for node in nodes - set(alive)}


def plan(
    role: str,
    limits: Limits,
    ledger: Ledger,
    *,
    able: Sequence[str],
    away: Mapping[str, float],
    now: float,
) -> Plan:
    """Return what to do next about the servers of `role`.

    `able`: the members that are there and qualify, the best first. `away`: of `watch`.
    """
    servers = servers_of(ledger, role)
    nodes = [server.node_id for server in servers.nodes]
    free = [node for node in able if node in ledger.members and node not in nodes]
    if servers.first is None:
        if not free:
            return Plan(None, "no member qualifies")
        return _choose(role, free[0], "it begins the role, of which there is no data yet")
    if not servers.ready:
        return Plan(None, _without_data(servers))
    up = [node for node in servers.ready if node not in away]
    late = [node for node in nodes if node in away and now - away[node] >= limits.replace_after]
    if 2 * len(up) <= len(servers.ready):
        return Plan(None, f"{len(up)} of {len(servers.ready)} servers run: no change without a majority")
    joining = [server.node_id for server in servers.nodes if not server.ready]
    if joining:
        # It never had the data, so nobody waits for it as long as somebody else could have its place.
        if joining[0] in late and free:
            return _drop(role, joining[0], f"it is away for {limits.replace_after:.0f} s and has not joined")
        return Plan(None, f"{joining[0]} joins")
    if servers.gone:
        return Plan(None, f"it lets go of {servers.gone[0]}")
    most = min(limits.count, MAX_SERVERS)
    if len(nodes) % 2 == 0:
        if len(nodes) < most and free:
            return _choose(role, free[0], f"{len(nodes)} are too few by one")
    elif len(nodes) + 2 <= most and len(free) >= 2 and len(up) == len(nodes):
        return _choose(role, free[0], f"{len(nodes) + len(free)} members qualify, {most} may be servers")
    if late and free and len(nodes) % 2:
        return _drop(role, late[0], f"it is away for {now - away[late[0]]:.0f} s, and others qualify")
    missing = f", {len(nodes) - len(up)} away" if len(up) < len(nodes) else ""
    return Plan(None, f"{len(nodes)} of at most {most} servers{missing}")


def may_be_chosen(me: str, count: int, servers: Servers, able: Collection[str]) -> bool:
    """Tell whether `me` is going to be a server, so that what runs only on others need not begin there."""
    nodes = {server.node_id for server in servers.nodes}
    wanted = largest_odd(max(1, min(count, MAX_SERVERS, len(nodes | set(able)))))
    return me in able and me not in nodes and len(nodes) < wanted


def find_lease_candidates(servers: Servers, able: Iterable[str]) -> Sequence[str]:
    """Return who may hold the lease of a role of kind servers, the best first: a server that runs it.

    Until the role has begun, it is who begins it: its secrets are made by who holds the lease.
    """
    there = set(able)
    allowed = servers.ready if servers.begun else [server.node_id for server in servers.nodes]
    return [node for node in allowed if node in there]


def describe(servers: Servers | None) -> str:
    """Return for a person who has the role."""
    if servers is None or servers.first is None:
        return "nobody has it"
    if not servers.nodes:
        return _without_data(servers)
    names = [identity_of_node_id(server.node_id).hostname for server in servers.nodes]
    return f"{', '.join(names)} {'have' if len(names) > 1 else 'has'} it"


def _without_data(servers: Servers) -> str:
    if servers.nodes:
        return f"{servers.first} begins it"
    if servers.begun:
        return "all of its servers were removed, and its data with them; see: node-agent role reset"
    return f"{servers.first} began it and was removed; see: node-agent role reset"


def _choose(role: str, node: str, reason: str) -> Plan:
    return Plan(Step("choose", role, node, reason), reason)


def _drop(role: str, node: str, reason: str) -> Plan:
    return Plan(Step("drop", role, node, reason), reason)
