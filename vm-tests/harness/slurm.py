# SPDX-License-Identifier: Apache-2.0
"""What tests ask SLURM on a machine, and the jobs that they give to it.

Each job notes its begin and its end in a file of the machine that it runs on, with its ID: what a job really
did is read there, whatever SLURM says of it.
"""

from collections import Counter
from collections.abc import Iterable

from harness.machine import Machine

SLURM_LIMIT = 240.0
"""Seconds from a formed cluster to workers that are idle, under TCG."""
SCRIPT = "/var/tmp/job"
NOTES = "/var/tmp/notes"
_JOB = f"""#!/bin/sh
id=${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}.${{SLURM_ARRAY_TASK_ID:-0}}
echo "begin $id" >>{NOTES}
sleep "$1"
echo "end $id" >>{NOTES}
"""


def find_controller(machines: Iterable[Machine]) -> Machine | None:
    """The machine on which slurmctld runs."""
    for machine in machines:
        if machine.execute(["systemctl", "is-active", "slurmctld"]).status == 0:
            return machine
    return None


def idle(machine: Machine, *variables: str) -> int:
    """How many workers SLURM has that are idle, as this machine sees it; `variables` are NAME=VALUE."""
    done = machine.execute(["env", *variables, "sinfo", "--noheader", "--Node", "--format=%N %t"])
    return done.stdout.decode().count(" idle\n") if done.status == 0 else 0


def prepare(machines: Iterable[Machine]) -> None:
    """Put the script of the jobs on each machine, and forget what earlier jobs did."""
    for machine in machines:
        machine.run("sh", "-c", 'printf %s "$1" >"$2"; : >"$3"', "sh", _JOB, SCRIPT, NOTES)


def submit(machine: Machine, seconds: float, *options: str, limit: float) -> int:
    """Submit a job that takes so long; return its ID."""
    out = machine.run(
        "sbatch", "--parsable", "--output=/dev/null", *options, SCRIPT, str(seconds), limit=limit
    )
    return int(out.split(";")[0])


def count(machines: Iterable[Machine], what: str) -> Counter[str]:
    """Return how often each job, as JOB.TASK, noted `what`: begin or end."""
    found: Counter[str] = Counter()
    for machine in machines:
        lines = machine.run("cat", NOTES).splitlines()
        found.update(line.split()[1] for line in lines if line.startswith(f"{what} "))
    return found


def queue(machine: Machine) -> dict[str, str] | None:
    """Return the state of each job that has not ended, by JOB_TASK or JOB; None when nobody answers."""
    done = machine.execute(["squeue", "--noheader", "--array", "--format=%i %T"])
    if done.status != 0:
        return None
    return dict(line.split() for line in done.stdout.decode().splitlines())
