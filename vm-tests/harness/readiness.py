# SPDX-License-Identifier: Apache-2.0
"""Waits for what `vm up` promises: one cluster of all machines of a group, whose roles run."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from agent.cluster import Credential
from agent.errors import ClusterError
from agent.formation.plan import quorum
from harness.cluster import FORM_LIMIT, SETTLE_LIMIT, is_formed, read_status, wait_settled
from harness.machine import Machine
from harness.waiting import LimitExceeded, wait_for

_HELD = ("pending", "quarantined", "removed")
"""Phases in which a machine stays until somebody does something about it."""


def wait_cluster(machines: Sequence[Machine], credential: Credential, started: float, hint: str) -> None:
    """Wait until the machines are one cluster whose roles run, and say so; `started`: monotonic.

    Returns early, and says why, when it takes a person to go on: too few machines, or one that nobody let in.
    Raises ClusterError with `hint` when it takes too long.
    """
    needed = quorum(credential)
    if len(machines) < needed:
        say(f"they form no cluster yet: {needed} of the {credential.machines} planned machines are needed")
        return
    share = max(1.0, len(machines) / len(os.sched_getaffinity(0)))
    say("waiting until they are one cluster whose roles run")
    documents: list[Mapping[str, Any]] = []

    def decided() -> bool:
        documents[:] = [read_status(machine) for machine in machines]
        return is_formed(documents) or bool(list_held(documents))

    try:
        wait_for(f"{len(machines)} machines to be one cluster", decided, FORM_LIMIT * share)
        if held := list_held(documents):
            for line in held:
                say(line)
            return
        say(f"they are one cluster after {time.monotonic() - started:.0f} s")
        wait_settled(machines, SETTLE_LIMIT * share)
        say(f"all its roles run after {time.monotonic() - started:.0f} s")
    except LimitExceeded as error:
        said = "".join(f"\n  {line}" for line in list_others(documents))
        raise ClusterError(f"{error}{said}", hint=hint) from None


def list_held(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which machines wait for a person, each in a sentence, once all others are members. Pure."""
    phases = {document.get("phase") for document in documents}
    return list_others(documents) if phases <= {"member", *_HELD} and phases != {"member"} else []


def list_others(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what machines that are no members say of themselves. Pure."""
    return [
        f"{document['hostname']}: {document['sentence']}"
        for document in documents
        if document and document["phase"] != "member"
    ]


def say(line: str) -> None:
    """Tell the person who waits."""
    print(line, file=sys.stderr, flush=True)
