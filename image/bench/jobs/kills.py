# SPDX-License-Identifier: Apache-2.0
"""The controller is lost while a task runs and others wait: what becomes of those, and of a new job."""

from collections.abc import Mapping

from harness import slurm
from harness.waiting import wait_for
from image.bench.jobs.trio import LIMIT, Trio, measure_loss

TASKS = 4
SECONDS = 8
"""How long a task takes."""


def kill_controller(trio: Trio) -> tuple[float, int]:
    """Return the seconds from the loss to a new job that has run, and how many tasks did not end just once.

    Tasks run one after the other on one machine, and the new job on the other that is left. Afterwards the
    lost one is back.
    """
    lost = trio.find_controller()
    seat, worker = trio.besides(lost)
    slurm.prepare(trio.machines)
    name = worker.run("hostname")
    options = (f"--array=1-{TASKS}", f"--nodelist={name}", "--mem-per-cpu=64")
    job = slurm.submit(lost, SECONDS, *options, limit=LIMIT)
    wait_for("a task to begin", lambda: slurm.count([worker], "begin"), LIMIT)
    seconds = measure_loss(lost, seat)
    trio.switch_on(lost)
    wait_for("an empty queue", lambda: slurm.queue(seat) == {}, LIMIT, every=2.0)
    trio.wait_idle()
    return seconds, count_wrong(slurm.count(trio.machines, "end"), job)


def count_wrong(ends: Mapping[str, int], job: int) -> int:
    """Return how many tasks of `job` ended never, or more than once; `ends` by JOB.TASK."""
    return sum(ends.get(f"{job}.{number}", 0) != 1 for number in range(1, TASKS + 1))
