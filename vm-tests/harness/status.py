# SPDX-License-Identifier: Apache-2.0
"""What `./build.py vm status` shows: machines, the cluster that they form, and who holds which role."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from agent.errors import ClusterError
from harness.cluster import SILENT, count_peers, is_formed, read_published
from harness.group import Group
from harness.machine import Machine
from harness.table import Table, screen

NODES = ("node", "state", "hostname", "phase", "members", "raft", "mesh", "address", "roles", "says")
"""Columns of `./build.py vm status`."""
EVERY = 1.0
"""Seconds between two looks."""
MOST_AT_ONCE = 16
"""Nodes that are asked at the same time."""


@dataclass(frozen=True)
class Seen:
    """A machine as `./build.py vm status` saw it; without a document it says nothing yet."""

    name: str
    state: str  # of Machine
    document: Mapping[str, Any] = field(default_factory=dict)
    age: float = 0.0  # seconds since the agent published it


def look(machine: Machine) -> Seen:
    """Return how a machine is."""
    state = machine.state
    if state != "ready":
        return Seen(machine.name, state)
    try:
        document, age = read_published(machine)
        return Seen(machine.name, state, document, age if document else 0.0)
    except (ClusterError, ValueError):
        return Seen(machine.name, state)


def watch(groups: Callable[[], list[Group]], *, until_formed: bool, once: bool) -> bool:
    """Show the groups until each is one cluster of all its machines, or `once`; return whether they are.

    Not `until_formed`: goes on until Ctrl-C. On a terminal what is shown replaces what was.
    """
    formed = False
    with screen(not once and sys.stdout.isatty()) as show, ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        try:
            while True:
                tables, formed = [], True
                for group in groups():
                    # All at once: a guest under TCG takes its time.
                    seen = list(pool.map(look, group.machines()))
                    formed = formed and is_formed([each.document for each in seen])
                    tables += describe(group.name, seen)
                show(tables)
                if once or (until_formed and formed):
                    break
                time.sleep(EVERY)
        except KeyboardInterrupt:
            if until_formed:
                raise
    return formed


def describe(group: str, seen: Sequence[Seen]) -> list[Table]:
    """Return what `./build.py vm status` shows of a group: its nodes, and who holds which role. Pure."""
    names = {each.document["node_id"]: each.name for each in seen if each.document.get("node_id")}
    nodes = Table(NODES, [_describe_node(each) for each in seen], _summary(group, seen, names))
    known = [each.document for each in seen if each.document.get("leases")]
    if not known:
        return [nodes]
    # Who has seen most of the log knows best.
    best = max(known, key=lambda document: document["raft"]["commit_index"])
    leases = [{**lease, "holder": names.get(lease["holder"], lease["holder"])} for lease in best["leases"]]
    return [nodes, Table(("role", "holder", "epoch"), leases)]


def _summary(group: str, seen: Sequence[Seen], names: Mapping[str, str]) -> str:
    documents = [each.document for each in seen]
    members = sum(document.get("phase") == "member" for document in documents)
    leaders = {document["raft"]["leader"] for document in documents if document.get("phase") == "member"}
    if is_formed(documents):
        (leader,) = leaders
        term = documents[0]["raft"]["term"]
        leader = names.get(leader, leader)
        return f"{group}: one cluster of all {len(seen)} nodes, led by {leader} in term {term}"
    return f"{group}: not one cluster of all yet: {members} of {len(seen)} nodes are members"


def _describe_node(seen: Seen) -> dict[str, Any]:
    row = {"node": seen.name, "state": seen.state}
    document = seen.document
    if "phase" not in document:
        return {**row, "says": "its agent starts" if seen.state == "ready" else None}
    silent = f"its agent has said nothing for {seen.age:.0f} s" if seen.age > SILENT else ""
    mesh, node = document["mesh"] or {}, document["node_id"]
    votes = any(member["voter"] for member in document["members"] if member["node_id"] == node)
    alive = sum(member["state"] == "alive" for member in document["members"])
    held = [lease["role"] for lease in document["leases"] if lease["holder"] == node]
    running = [role["name"] for role in document.get("roles", ()) if role["state"] == "running"]
    return {
        **row,
        "hostname": document["hostname"],
        "phase": document["phase"],
        "members": f"{alive}/{len(document['members'])} alive" if document["members"] else None,
        "raft": "leader" if document["raft"]["leader"] == node else "voter" if votes else None,
        "mesh": f"{count_peers(document)}/{len(mesh['peers'])} up" if mesh else None,
        "address": mesh.get("ipv4"),
        "roles": " ".join(dict.fromkeys((*held, *running))),
        "says": silent or document["error"] or document["sentence"],
    }
