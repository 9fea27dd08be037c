# SPDX-License-Identifier: Apache-2.0
"""A member that leaves ends its jobs first. The last file of this folder: afterwards there are two."""

from harness import slurm
from harness.cluster import read_status, wait_formed
from harness.machine import Machine
from harness.waiting import wait_for

SECONDS = 45
"""How long the job takes: longer than an emulated machine needs to begin to leave."""
LIMIT = 240.0


def test_a_member_that_leaves_ends_its_jobs_first(trio: list[Machine]) -> None:
    slurm.prepare(trio)
    controller = wait_for("a controller", lambda: slurm.find_controller(trio), LIMIT)
    leaver = next(machine for machine in trio if machine is not controller)
    others = [machine for machine in trio if machine is not leaver]
    name = leaver.run("hostname")
    job = slurm.submit(controller, SECONDS, f"--nodelist={name}", limit=LIMIT)
    wait_for("the job to begin", lambda: slurm.count([leaver], "begin")[f"{job}.0"], LIMIT)

    said = leaver.run("node-agent", "leave", "--yes", limit=LIMIT)
    assert "slurm-worker" in said
    wait_for("no more jobs for it", lambda: state_of(controller, name).startswith("dr"), LIMIT)
    assert slurm.count([leaver], "end")[f"{job}.0"] == 0, "it had ended before: nothing is shown"
    assert len(read_status(leaver)["members"]) == 3

    wait_formed(others, LIMIT)
    assert slurm.count([leaver], "end") == {f"{job}.0": 1}
    wait_for("SLURM to forget it", lambda: state_of(controller, name) == "", LIMIT)
    # All start SLURM again meanwhile, with a key that the one who left does not have.
    wait_for("two idle workers", lambda: slurm.idle(controller) == 2, LIMIT, every=2.0)
    assert leaver.execute(["systemctl", "is-active", "slurmd"]).status != 0


def state_of(machine: Machine, worker: str) -> str:
    """Return the state of a worker in SLURM's short form; empty: it knows none of the name; ?: no answer."""
    done = machine.execute(["sinfo", "--noheader", "--Node", "--format=%t", f"--nodes={worker}"])
    return done.stdout.decode().strip() if done.status == 0 else "?"
