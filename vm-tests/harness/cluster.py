# SPDX-License-Identifier: Apache-2.0
"""The cluster that machines form, as their agents tell it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent.errors import ClusterError
from harness.machine import Machine
from harness.model import Json
from harness.waiting import LimitExceeded, wait_for

PUBLISHED = "/run/cluster-os/status.json"
SILENT = 20.0
"""Seconds without a new document after which something is wrong with an agent."""
FORM_LIMIT = 240.0
"""Seconds from the last machine that is ready to one cluster of all; under TCG an agent starts in some."""

SETTLE_LIMIT = 240.0
"""Seconds from there until all its roles run."""


def read_published(machine: Machine) -> tuple[Json, float]:
    """Return the status document that the agent of a machine publishes, and its age in seconds.

    Reading it costs a guest nothing: `node-agent status` starts a Python, which takes seconds under TCG.
    Raises ClusterError or ValueError when it cannot be read; empty: there is none yet.
    """
    # The document is one line, and so is the time since the start (proc_uptime(5)), which `published` is of.
    text = machine.execute(["cat", PUBLISHED, "/proc/uptime"]).stdout.decode()
    *published, uptime = text.splitlines()
    document: Json = json.loads(published[0]) if published else {}
    age = float(uptime.split(maxsplit=1)[0]) - float(document.get("published", "nan"))
    return document, age


def read_status(machine: Machine) -> Json:
    """Return the status document of a machine whose agent runs; empty while there is none."""
    try:
        document, age = read_published(machine)
    except (ClusterError, ValueError):
        return {}
    return document if age < SILENT else {}


def find_holder(machines: Sequence[Machine], role: str) -> Machine | None:
    """The machine on which a role of kind `leader` runs."""
    for machine in machines:
        roles = read_status(machine).get("roles", [])
        if any(each["name"] == role and each["state"] == "running" for each in roles):
            return machine
    return None


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


def wait_settled(machines: Sequence[Machine], limit: float) -> None:
    """Wait until the machines, which are one cluster, run all that they can run."""
    left: list[str] = []

    def settled() -> bool:
        left[:] = list_unsettled([read_status(machine) for machine in machines])
        return not left

    try:
        wait_for("", settled, limit)
    except LimitExceeded:
        raise LimitExceeded(f"after {limit:.0f} s not all roles run: {'; '.join(left)}") from None


def list_unsettled(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what does not run yet of the roles of members, each in a few words. Pure."""
    found = ["a member says nothing"] * sum(not document for document in documents)
    few: dict[str, set[str]] = {}
    for document in documents:
        for role in document.get("roles", ()):
            if role["state"] not in ("running", "elsewhere", "unfit"):
                found.append(f"{role['name']} on {document['hostname']}: {role['reason'] or role['state']}")
            if role["kind"] != "every":
                few.setdefault(role["name"], set()).add(role["state"])
    # Some member has to have these, unless none can.
    nobody = (name for name, states in few.items() if "elsewhere" in states <= {"elsewhere", "unfit"})
    return [*found, *(f"{name}: nobody has it" for name in nobody)]


def count_peers(document: Mapping[str, Any]) -> int:
    """Return how many mesh peers a status document has a fresh handshake with."""
    return sum(peer["state"] == "up" for peer in (document["mesh"] or {"peers": []})["peers"])
