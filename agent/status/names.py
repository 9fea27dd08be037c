# SPDX-License-Identifier: Apache-2.0
"""How people name nodes: a node ID, the beginning of one, or a host name. Pure."""

import re
from collections.abc import Mapping

from agent.errors import ClusterError
from agent.status.document import NODE_ID, NodeStatus

LEAST = 4  # characters of a node ID that name a node, if they are unique
SHOWN = 12


def known(status: NodeStatus) -> dict[str, str]:
    """Return the host name of every node that the document names, by node ID."""
    strangers = (*status.removed, *(node.node_id for node in status.pending))
    # The rule of agent/identity.py, without its libraries.
    names = {node_id: f"n-{node_id[:10].lower()}" for node_id in strangers}
    names |= {member.node_id: member.hostname for member in status.members}
    return {**names, status.node_id: status.hostname}


def resolve(name: str, nodes: Mapping[str, str]) -> str:
    """Return the node ID that `name` means among `nodes` (host names by node ID).

    A whole node ID means itself, also when it is not among them. Raises ClusterError when it means none, or
    more than one: the beginning of a node ID is easy to imitate, a unique one is not.
    """
    if name in nodes:
        return name
    found = [node_id for node_id, hostname in nodes.items() if hostname == name.lower()]
    if not found and len(name) >= LEAST:
        found = [node_id for node_id in nodes if node_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ClusterError(
            f"{name[:60]!r} means {len(found)} nodes: {', '.join(sorted(found)[:5])}",
            hint="give more of the node ID",
        )
    if re.fullmatch(NODE_ID, name) and len(name) >= 43:
        return name
    raise ClusterError(
        f"no node is called {name[:60]!r}",
        hint=f"give a host name, or {LEAST} characters or more of a node ID; see: node-agent members",
    )


def short(node_id: str) -> str:
    """Return the beginning of a node ID, for tables."""
    return node_id[:SHOWN]
