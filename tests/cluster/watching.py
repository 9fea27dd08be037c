# SPDX-License-Identifier: Apache-2.0
"""What tests wait for, and read, in the status that the agent of a machine publishes."""

from collections.abc import Callable
from typing import Any

from harness.waiting import LimitExceeded, wait_for
from tests.cluster.machines import Machine

LIMIT = 60.0
"""Seconds for what takes some of them on an idle machine."""


def wait_status(
    machine: Machine, what: str, is_so: Callable[[dict[str, Any]], object], limit: float = LIMIT
) -> dict[str, Any]:
    """Wait until the status of the machine is as `what` says; return it then."""

    def look() -> dict[str, Any] | None:
        status = machine.status()
        return status if status and is_so(status) else None

    try:
        return wait_for(f"{machine.name}: {what}", look, limit)
    except LimitExceeded as error:
        status = machine.status()
        last: dict[str, Any] = {key: status.get(key) for key in ("phase", "sentence", "error")}
        last["members"] = {member["node_id"][:6]: member["state"] for member in status.get("members", [])}
        raise AssertionError(f"{error.message}; last: {last}") from None


def wait_phase(machine: Machine, phase: str, text: str = "", limit: float = LIMIT) -> dict[str, Any]:
    """Wait until the machine is in a phase and says `text`; return its status then."""
    return wait_status(
        machine,
        f"phase {phase}, {text!r}",
        lambda status: status["phase"] == phase and text in status["sentence"],
        limit,
    )


def wait_led(machines: list[Machine], *, by: set[str] | None = None, limit: float = LIMIT) -> str:
    """Wait until all these follow one leader, one of `by` (node IDs; None: one of them); return who it is."""
    among = {machine.node_id for machine in machines} if by is None else by

    def leader() -> str | None:
        leaders = {machine.status().get("raft", {}).get("leader") for machine in machines}
        return next(iter(leaders)) if len(leaders) == 1 and leaders <= among else None

    return wait_for("one leader", leader, limit)


def wait_voters(machines: list[Machine], number: int = 3, limit: float = LIMIT) -> None:
    """Wait until `number` of the machines vote.

    Two of three found a cluster when the third is late, with one vote, and give two more some seconds later:
    until then the loss of that one is everybody's.
    """

    def all_vote(status: dict[str, Any]) -> bool:
        return len(status["raft"]["voters"]) == number

    for machine in machines:
        wait_status(machine, f"{number} voters", all_vote, limit)


def wait_members(machines: list[Machine], wanted: set[str], limit: float = LIMIT) -> None:
    """Wait until all these machines know just the `wanted` members (node IDs)."""
    for machine in machines:
        wait_status(
            machine, "the members that are wanted", lambda status: members_of(status) == wanted, limit
        )


def members_of(status: dict[str, Any]) -> set[str]:
    """Return the node IDs of the members that a status names."""
    return {member["node_id"] for member in status["members"]}


def peers_of(machine: Machine) -> set[str]:
    """Return the WireGuard public keys of the machine's mesh peers, as the interface has them."""
    done = machine.inside("wg", "show", machine.mesh, "peers")
    return set(done.stdout.split()) if done.returncode == 0 else set()
