# SPDX-License-Identifier: Apache-2.0
"""Three machines with SLURM, and what the bench of jobs asks of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import slurm
from harness.cluster import find_holder, wait_formed
from harness.group import Group
from harness.machine import Machine
from harness.model import JOIN_CREDENTIAL, Boot
from harness.slurm import SLURM_LIMIT
from harness.waiting import wait_for
from image.bench.machines import hold_group, make_credential, start_machines
from image.toolstree import ToolsTree

SIZE = 3
MEMORY = 1536
LIMIT = 900.0
"""Seconds for one thing that is measured: SLURM's own backup waits for two minutes at first."""
CONTROLLER = "slurm-controller"
# Commands give up while no controller answers; a person would try again, too.
_FIRST_JOB = 'until srun --nodelist="$(hostname)" --nodes=1 true 2>/dev/null; do :; done'


class Trio:
    """One cluster of three; `boot` is what each of them is started with."""

    def __init__(self, group: Group, boot: Boot) -> None:
        self._group, self._boot = group, boot
        self.machines = group.machines()

    def find_controller(self) -> Machine:
        """Wait for the machine with the controller, as the cluster has it."""
        return wait_for("a controller", lambda: find_holder(self.machines, CONTROLLER), LIMIT, every=1.0)

    def besides(self, *lost: Machine) -> list[Machine]:
        """Return the other machines."""
        return [machine for machine in self.machines if machine not in lost]

    def switch_on(self, lost: Machine) -> None:
        """Have a machine back, as a member."""
        self._group.start(lost, self._boot)
        lost.wait_ready(LIMIT)
        wait_formed(self.machines, LIMIT)

    def wait_idle(self) -> None:
        """Wait until all of them can take a job."""
        seat = self.machines[0]
        wait_for("idle workers", lambda: slurm.idle(seat) == SIZE, SLURM_LIMIT, every=2.0)


def measure_loss(lost: Machine, seat: Machine, *variables: str) -> float:
    """Cut the power of a controller's machine; return the seconds until a new job has run at `seat`.

    `variables` are NAME=VALUE for SLURM's commands.
    """
    began = time.monotonic()
    lost.power_cut()
    seat.run("env", *variables, "sh", "-c", _FIRST_JOB, limit=LIMIT)
    return time.monotonic() - began


@contextmanager
def hold_trio(tools: ToolsTree, image: Path, folder: Path, say: Callable[[str], None]) -> Iterator[Trio]:
    """Start three machines from `image`, and leave nothing of them behind; everything is below `folder`."""
    boot = Boot({JOIN_CREDENTIAL: make_credential(folder, SIZE)})
    with hold_group(tools, image, folder, "bench-jobs", say) as group:
        start_machines(group, boot, size=SIZE, memory=MEMORY)
        trio = Trio(group, boot)
        for machine in trio.machines:
            machine.wait_ready(LIMIT)
        wait_formed(trio.machines, LIMIT)
        trio.wait_idle()
        yield trio
