# SPDX-License-Identifier: Apache-2.0
"""The cluster that machines form, as their agents tell it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent.errors import ClusterError
from harness.machine import Machine
from harness.model import Json
from harness.waiting import wait_for

FORM_LIMIT = 240.0
"""Seconds from the last machine that is ready to one cluster of all; under TCG an agent starts in some."""


def read_status(machine: Machine) -> Json:
    """Return what `node-agent status --json` says on the machine; empty while it says nothing."""
    try:
        return json.loads(machine.execute(["node-agent", "status", "--json"]).stdout or b"{}")
    except (ClusterError, ValueError):
        return {}


def is_formed(documents: Sequence[Mapping[str, Any]]) -> bool:
    """True when these are all members of one cluster with a leader, and the mesh is whole."""
    nodes = {document.get("node_id") for document in documents}
    return bool(documents) and all(
        document.get("phase") == "member"
        and {member["node_id"] for member in document["members"]} == nodes
        and all(member["state"] == "alive" for member in document["members"])
        and document["cluster"]["genesis"] == documents[0]["cluster"]["genesis"]
        and document["raft"]["leader"] == documents[0]["raft"]["leader"] is not None
        and count_peers(document) == len(nodes) - 1
        for document in documents
    )


def wait_formed(machines: Sequence[Machine], limit: float = FORM_LIMIT) -> list[Json]:
    """Wait until the machines are one cluster; return their status documents."""

    def formed() -> list[Json] | None:
        documents = [read_status(machine) for machine in machines]
        return documents if is_formed(documents) else None

    return wait_for(f"{len(machines)} machines to be one cluster", formed, limit)


def count_peers(document: Mapping[str, Any]) -> int:
    """Return how many mesh peers a status document has a fresh handshake with."""
    return sum(peer["state"] == "up" for peer in (document["mesh"] or {"peers": []})["peers"])
