# SPDX-License-Identifier: Apache-2.0
"""Three machines of profile hpc run JupyterHub by themselves, and go on with it when its holder is lost.

The user is `notebookuser.py`, which speaks as a browser does; it runs on a member, as the mesh has the hub.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ClusterError
from harness import slurm
from harness.cluster import find_holder, wait_formed
from harness.lab import Lab
from harness.machine import Machine
from harness.model import Boot
from harness.waiting import wait_for

CLIENT = Path(__file__).parents[1] / "notebookuser.py"
pytestmark = pytest.mark.full

RUNS_LIMIT = 420.0
"""Seconds from a formed cluster to a hub that answers, under TCG."""
START_LIMIT = 420.0
"""Seconds from the form to the page of a notebook."""
AGAIN_LIMIT = 420.0
"""Seconds from the loss of the holder to an answer of the notebook through the next hub."""
USER, PASSWORD = "alice", "correct horse"


@dataclass(frozen=True)
class Cast:
    """Who plays what: the hub's holder, the only worker that takes jobs, and where the user sits."""

    holder: Machine
    worker: Machine
    seat: Machine


@pytest.fixture(scope="module")
def cast(trio: list[Machine], lab: Lab, boot: Boot) -> Iterator[Cast]:
    """The hub runs, its workers are idle, and one of them alone takes jobs."""
    holder = wait_for("JupyterHub to run", lambda: find_hub(trio), RUNS_LIMIT, every=3)
    worker, seat = (machine for machine in trio if machine is not holder)
    wait_for("three idle workers", lambda: slurm.idle(seat) == 3, RUNS_LIMIT, every=3)
    for machine in (holder, seat):
        drain(seat, hostname(machine))
    found = seat.run("jupyterhub-ca")
    assert found.startswith("-----BEGIN CERTIFICATE-----")
    seat.run("sh", "-c", 'printf "%s\\n" "$1" >/run/ca.crt', "sh", found)
    yield Cast(holder, worker, seat)
    seat.run("scancel", f"--user={USER}")
    if holder.state != "ready":
        lab.start(holder.spec, boot)
        holder.wait_ready()
    wait_formed(trio)
    for machine in (holder, seat):
        seat.run("scontrol", "update", f"nodename={hostname(machine)}", "state=resume", limit=RUNS_LIMIT)


def test_only_the_right_password_opens_the_hub(cast: Cast) -> None:
    assert speak(cast.seat, "login", password="wrong horse")["error"].startswith("log in: ")
    assert speak(cast.seat, "login")["page"] == "https://jupyterhub:8443/hub/home"


def test_a_notebook_runs_as_a_job_and_outlives_the_holder_of_the_hub(cast: Cast) -> None:
    page = speak(cast.seat, "start", "job-small", limit=START_LIMIT)
    assert page["page"] == f"https://jupyterhub:8443/user/{USER}/lab"
    jobs = cast.seat.run("squeue", "--noheader", "--format=%u %N %T").split()
    assert jobs == [USER, hostname(cast.worker), "RUNNING"]
    assert said(cast.seat, "import socket; x = 41; print(socket.gethostname())") == hostname(cast.worker)

    cast.holder.power_cut()
    others = [cast.worker, cast.seat]
    wait_for("another holder of JupyterHub", lambda: find_hub(others), AGAIN_LIMIT, every=3)
    # The same kernel, with what it knew.
    assert wait_for("the notebook", lambda: answer(cast.seat, "print(x + 1)"), AGAIN_LIMIT, every=3) == "42"
    jobs = cast.seat.run("squeue", "--noheader", "--format=%u %N %T").split()
    assert jobs == [USER, hostname(cast.worker), "RUNNING"]


def hostname(machine: Machine) -> str:
    """Name of the machine as SLURM and the mesh have it."""
    return machine.run("hostname")


def drain(machine: Machine, worker: str) -> None:
    """Let SLURM give a worker no more jobs."""
    update = ["scontrol", "update", f"nodename={worker}", "state=drain", "reason=test"]
    wait_for(f"{worker} to be drained", lambda: machine.execute(update).status == 0, RUNS_LIMIT, every=3)


def find_hub(machines: Sequence[Machine]) -> Machine | None:
    """The machine on which JupyterHub runs, which it does only when it answers."""
    return find_holder(machines, "jupyterhub")


def speak(
    seat: Machine, verb: str, *rest: str, password: str = PASSWORD, limit: float = 180
) -> dict[str, Any]:
    """Let the user do something; returns what notebookuser.py prints."""
    variables = [f"PASSWORD={password}", f"LIMIT={limit:g}"]
    argv = ["env", *variables, "python3", "-", verb, "https://jupyterhub:8443", "/run/ca.crt", USER, *rest]
    done = seat.execute(argv, stdin=CLIENT.read_bytes(), limit=limit + 120)
    text = (done.text or done.stderr.decode(errors="replace").strip() or "nothing").splitlines()[-1]
    if not text.startswith("{"):
        raise ClusterError(f"the user sees: {text[-400:]}")
    found: dict[str, Any] = json.loads(text)
    return found


def said(seat: Machine, code: str) -> str:
    """What the notebook prints."""
    found = speak(seat, "run", code)
    assert "printed" in found, found
    return str(found["printed"]).strip()


def answer(seat: Machine, code: str) -> str | None:
    """The same while the hub may be on its way: None for whatever a user would try again."""
    try:
        found = speak(seat, "run", code, limit=60)
    except ClusterError:
        return None
    return str(found["printed"]).strip() if "printed" in found else None
