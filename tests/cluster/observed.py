# SPDX-License-Identifier: Apache-2.0
"""What the machines of a cluster in namespaces say: who leads, who holds the lease, what the ledger has.

All machines share one kernel, so the times (CLOCK_BOOTTIME) in their logs can be compared.
"""

import re
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from agent.cluster import Ledger
from agent.election.leases import LeaseTimes
from agent.membership.ledger_file import decode_ledger
from harness import processes
from harness.waiting import LimitExceeded, wait_for
from tests.cluster.machines import FORM_LIMIT, Machine

ROLE = "coordinator"
VOTER_STEP = 15.0
"""Seconds that a change of one voter may take."""
ELECTION = 2.0
"""Seconds after which at the latest a follower that hears nothing stands for election (timing.py)."""
LOADED = 4.0
"""Seconds that everything may take longer on a machine that does other things at the same time."""
TIMES = LeaseTimes()
_SAID = re.compile(
    r"^roles: coordinator: (began|ended)(?: in epoch (\d+))? at ([\d.]+)(?:; its time is over at ([\d.]+))?$",
    re.MULTILINE,
)


class Term(NamedTuple):
    """A time in which a machine held the role: from the moment before it began to the one after it ended."""

    machine: str
    epoch: int
    began: float
    ended: float  # infinite: it still holds it
    over: float = float(
        "inf"
    )  # its deadline; a machine that is stopped ends later, and does nothing meanwhile


def now() -> float:
    """The clock of the holders."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Faults:
    """When agents were killed or paused, about which they say nothing themselves; by machine."""

    def __init__(self) -> None:
        self.kills: dict[str, list[float]] = {}
        self.pauses: dict[str, list[tuple[float, float]]] = {}

    def killed(self, machine: Machine, at: float) -> None:
        self.kills.setdefault(machine.name, []).append(at)

    def paused(self, machine: Machine, begin: float, end: float) -> None:
        self.pauses.setdefault(machine.name, []).append((begin, end))

    def correct(self, term: Term) -> Term:
        """The term as it was: a killed agent ends, a paused one does nothing after its deadline."""
        kills = [at for at in self.kills.get(term.machine, ()) if at > term.began]
        ended = min([term.ended, *kills])
        if any(begin < term.over < end for begin, end in self.pauses.get(term.machine, ())):
            ended = min(ended, term.over)
        return term._replace(ended=ended)


def terms(machine: Machine) -> list[Term]:
    """The times in which the machine held the role, as it has written them down."""
    found: list[Term] = []
    for said, epoch, at, over in _SAID.findall(machine.log()):
        if said == "began":
            found.append(Term(machine.name, int(epoch), float(at), float("inf")))
        elif found and found[-1].ended == float("inf"):
            found[-1] = found[-1]._replace(ended=float(at), over=float(over or "inf"))
    return found


def check_one_holder(found: Iterable[Term]) -> None:
    """At no instant two machines hold the role, and each new term has a higher epoch."""
    ordered = sorted(found, key=lambda term: term.began)
    assert ordered
    for earlier, later in pairwise(ordered):
        assert earlier.ended < later.began, f"{earlier} and {later} overlap"
        assert earlier.epoch < later.epoch or earlier.machine == later.machine, f"{later} has no new epoch"


def acts(machine: Machine) -> bool:
    """Whether it says that it holds the role now."""
    return bool(machine.status()) and f"{ROLE} here" in machine.status()["sentence"]


def wait_holder(machines: Iterable[Machine], limit: float) -> Machine:
    """Wait until one of the machines acts in the role, and return it."""
    among = list(machines)
    return wait_for("a holder of the role", lambda: next(filter(acts, among), None), limit)


def wait_voters(machines: list[Machine], count: int) -> None:
    """Wait until ledger and Raft of all name the same `count` voters, which run as such."""

    def agreed() -> bool:
        documents = [machine.status() for machine in machines]
        named = {frozenset(m["node_id"] for m in d["members"] if m["voter"]) for d in documents}
        in_raft = {frozenset(d["raft"]["voters"]) for d in documents}
        voting = frozenset(d["node_id"] for d in documents if d["raft"]["role"] in ("leader", "follower"))
        return len(voting) == count and named == in_raft == {voting}

    wait_for(f"{count} voters in the ledger and in Raft", agreed, FORM_LIMIT + VOTER_STEP * count)


def wait_leader(machines: Iterable[Machine], limit: float) -> Machine:
    """Wait until one of the machines leads, and the others follow it."""
    among = list(machines)

    def leader() -> Machine | None:
        said = {machine.status()["raft"]["leader"] for machine in among}
        return next(
            (m for m in among if said == {m.node_id} and m.status()["raft"]["role"] == "leader"), None
        )

    return wait_for("one leader that all follow", leader, limit)


def wait_commit(machines: Iterable[Machine], limit: float) -> float:
    """Have a command committed by one of the machines; return the seconds that it took."""
    began = time.monotonic()
    among = list(machines)
    before = max(machine.status()["raft"]["commit_index"] for machine in among)
    term = max(machine.status()["raft"]["term"] for machine in among)

    def committed() -> bool:
        return any(
            document["raft"]["term"] > term and document["raft"]["commit_index"] > before
            for document in (machine.status() for machine in among)
        )

    wait_for("a commit of a new leader", committed, limit)
    return time.monotonic() - began


def ledger(machine: Machine) -> Ledger:
    """The ledger on the machine's disk."""
    path = machine.state / "agent/ledger.msgpack"
    return decode_ledger(path.read_bytes(), str(path))


def process(machine: Machine, role: str) -> int:
    """The process id of one of its programs, the innermost as others have started it; 0: it does not run."""
    found = processes.find(Path(machine.folder).parent, f"{machine.name}.{role}")
    return found[-1].pid if found else 0


def wait_alive(machines: Iterable[Machine], limit: float = 20.0) -> None:
    """Wait until each machine sees all members alive, has a mesh to each, and follows a leader."""
    among = list(machines)

    def alive() -> bool:
        documents = [machine.status() for machine in among]
        return all(
            document.get("phase") == "member"
            and document["raft"]["leader"]
            and (document["raft"]["role"] != "leader" or _reaches_all(document["raft"]))
            and all(member["state"] == "alive" for member in document["members"])
            and all(peer["state"] == "up" for peer in document["mesh"]["peers"])
            for document in documents
        )

    wait_for("all to see all", alive, limit)


def _reaches_all(raft: dict[str, Any]) -> bool:
    """Whether a leader of Raft has a connection to each other voter."""
    return len(raft["connected"]) == len(raft["voters"]) - 1


def start_again(machine: Machine, *through: str, limit: float = 20.0) -> None:
    """Start the agent, and wait until it has looked around: before, its status is that of its forerunner."""
    before = machine.status()["published"]
    machine.start_agent(*through)
    wait_for("a tick of the new agent", lambda: machine.status()["published"] > before, limit)


def restart_agent(machine: Machine, *through: str) -> float:
    """Kill the agent, start it again, wait until it has looked around; return when it ended (`now`)."""
    machine.kill("agent")
    killed = now()
    start_again(machine, *through)
    return killed


def stays(what: str, condition: object, seconds: float) -> None:
    """See that `condition()` is true all the time."""
    try:
        wait_for(f"the end of: {what}", lambda: not condition(), seconds)  # type: ignore[operator]
    except LimitExceeded:
        return
    raise AssertionError(f"no longer: {what}")
