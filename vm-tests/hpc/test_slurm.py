# SPDX-License-Identifier: Apache-2.0
"""Three machines of profile hpc run SLURM by themselves, and no loss of a machine loses a job."""

import json
import time
from functools import partial
from pathlib import Path

from harness import slurm
from harness.cluster import read_status, wait_formed
from harness.lab import Lab
from harness.machine import Machine
from harness.model import Boot
from harness.slurm import SLURM_LIMIT, find_controller
from harness.waiting import wait_for

RUN_LIMIT = 240.0
"""Seconds for one `srun`: on busy cores a lease may end meanwhile, and the controller is started again."""
TAKE_OVER_LIMIT = 120.0
"""Seconds from the loss of the controller to another one that answers."""
TASKS = 40
SECONDS = 8
"""How long a task takes."""
ARRAY_LIMIT = 600.0
SAVES = 12
"""Seconds in which submissions follow each other without a pause."""
GPU = "/dev/dri/renderD128"
RING = (Path(__file__).parents[1] / "mpi_ring.py").read_text()


def test_srun_runs_on_all_members(trio: list[Machine]) -> None:
    names = {machine.run("hostname") for machine in trio}
    for machine in trio:
        assert set(machine.run("srun", "-N3", "hostname", limit=RUN_LIMIT).split()) == names


def test_a_user_who_is_added_meanwhile_runs_jobs_on_all_members(trio: list[Machine]) -> None:
    trio[0].run("node-agent", "users", "add", "bob", "--uid", "1002", limit=RUN_LIMIT)
    for machine in trio:
        known = partial(machine.execute, ["getent", "passwd", "bob"])
        wait_for("bob", lambda known=known: known().status == 0, RUN_LIMIT)  # type: ignore[misc]
    job = ("srun", "-N3", "--chdir=/tmp", "sh", "-c", 'echo "$(hostname) $(id --user --name)"')
    ran = trio[1].run("runuser", "-u", "bob", "--", *job, limit=RUN_LIMIT).splitlines()
    assert set(ran) == {f"{machine.run('hostname')} bob" for machine in trio}


def test_one_member_has_the_controller_and_all_say_who(trio: list[Machine]) -> None:
    holders = set()
    for machine in trio:
        roles = json.loads(machine.run("node-agent", "roles", "--json", limit=RUN_LIMIT))
        states = {
            role["name"]: role["state"]
            for role in roles["roles"]
            if role["name"] == "names" or role["name"].startswith("slurm-")
        }
        assert states.pop("slurm-controller") in ("running", "elsewhere")
        assert set(states.values()) == {"running"}
        holders |= {lease["holder"] for lease in roles["leases"] if lease["role"] == "slurm-controller"}
    assert len(holders) == 1
    assert sum(machine.execute(["systemctl", "is-active", "slurmctld"]).status == 0 for machine in trio) == 1


def test_the_controller_counts_jobs_and_nodes(trio: list[Machine]) -> None:
    def figures() -> dict[str, int]:
        for machine in trio:
            for role in read_status(machine).get("roles", []):
                if role["figures"]:
                    return dict(role["figures"])
        return {}

    wait_for("three idle workers to be counted", lambda: figures().get("nodes idle") == 3, SLURM_LIMIT)
    job = ("sbatch", "--output=/dev/null", "--chdir=/tmp", "--wrap=sleep 600")
    trio[0].run(*job, "--nodes=1")
    trio[0].run(*job, "--nodes=3", "--exclusive")
    wait_for(
        "one job to run and one to wait",
        lambda: (figures().get("jobs running"), figures().get("jobs pending")) == (1, 1),
        RUN_LIMIT,
    )
    trio[0].run("scancel", "--user=root")
    wait_for("all to be idle again", lambda: figures().get("nodes idle") == 3, SLURM_LIMIT)


def test_the_queue_is_saved_every_second_and_copied(trio: list[Machine]) -> None:
    slurm.prepare(trio)
    controller = find_controller(trio)
    assert controller is not None
    # SLURM by itself would save every five seconds.
    script = f"""
        end=$(($(date +%s) + {SAVES}))
        while [ "$(date +%s)" -lt $end ]; do
            sbatch --parsable --hold --output=/dev/null {slurm.SCRIPT} 1
            stat --format='saved %.Y' /var/lib/slurm-controller/job_state
        done"""
    lines = controller.run("sh", "-c", script, limit=RUN_LIMIT).splitlines()
    saves = {line for line in lines if line.startswith("saved")}
    assert len(saves) > SAVES // 5 + 2, lines
    last = [line for line in lines if line.isdigit()][-1]
    copy = "/var/lib/slurm-copies/copy"
    script_of_job = f"{copy}/hash.{int(last) % 10}/job.{last}/script"
    wait_for(
        f"copies of job {last}",
        lambda: all(machine.execute(["test", "-e", script_of_job]).status == 0 for machine in trio),
        TAKE_OVER_LIMIT,
    )
    controller.run("scancel", "--state=PENDING", "--user=root")


def test_mpi_goes_over_the_mesh(trio: list[Machine]) -> None:
    for machine in trio:
        machine.run("sh", "-c", 'printf %s "$1" >/var/tmp/ring.py', "sh", RING)
    argv = ("env", "HOME=/root", "srun", "-N3", "--ntasks-per-node=1", "python3", "/var/tmp/ring.py")
    out = trio[0].run(*argv, limit=RUN_LIMIT)
    assert "ring of 3 is whole" in out
    assert "sum over 3 is right" in out


def test_a_job_has_the_stand_in_of_a_gpu_that_it_asked_for(trio: list[Machine]) -> None:
    # Emulated machines have nothing that computes: a device file that only looks like it, with zero's driver.
    controller = find_controller(trio)
    worker = next(machine for machine in trio if machine is not controller)
    name = worker.run("hostname")

    def register_anew() -> None:
        # The controller keeps what a worker once registered with.
        delete = ["scontrol", "delete", f"nodename={name}"]
        wait_for("the worker to be forgotten", lambda: worker.execute(delete).status == 0, SLURM_LIMIT)
        worker.run("systemctl", "restart", "slurmd", limit=RUN_LIMIT)
        wait_for("three idle workers", lambda: slurm.idle(worker) == 3, SLURM_LIMIT, every=2.0)

    worker.run("sh", "-ec", f"mkdir -p /dev/dri; mknod -m 666 {GPU} c 1 5")
    register_anew()
    look = f"echo gpus ${{SLURM_GPUS_ON_NODE:-0}}; head -c1 {GPU} >/dev/null && echo opened"
    asked = worker.run("srun", "--gres=gpu:1", "sh", "-c", look, limit=RUN_LIMIT)
    assert asked.splitlines() == ["gpus 1", "opened"]
    not_asked = worker.execute(["srun", "-w", name, "sh", "-c", look], limit=RUN_LIMIT)
    assert not_asked.stdout.decode().splitlines() == ["gpus 0"]
    assert b"Operation not permitted" in not_asked.stderr
    worker.run("rm", GPU)
    register_anew()


def test_every_task_ends_once_though_the_controller_is_killed(
    lab: Lab, trio: list[Machine], boot: Boot
) -> None:
    slurm.prepare(trio)
    controller = find_controller(trio)
    assert controller is not None
    others = [machine for machine in trio if machine is not controller]
    name = controller.run("hostname")
    job = slurm.submit(
        others[0], SECONDS, f"--array=1-{TASKS}", "--exclude", name, "--mem-per-cpu=64", limit=RUN_LIMIT
    )
    tasks = {f"{job}.{number}" for number in range(1, TASKS + 1)}
    # Some have ended, some run, some wait, and one has just begun; more end while nobody listens.
    wait_for("ended tasks", lambda: slurm.count(others, "end").total() >= 2, ARRAY_LIMIT)
    begun = slurm.count(others, "begin")
    wait_for("a task to begin", lambda: slurm.count(others, "begin") - begun, ARRAY_LIMIT)
    assert slurm.count(others, "end").total() < TASKS
    controller.power_cut()
    began = time.monotonic()
    wait_for("another controller", lambda: find_controller(others), TAKE_OVER_LIMIT)
    print(f"another controller after {time.monotonic() - began:.0f} s")
    lab.start(controller.spec, boot)
    wait_for("all tasks to end", lambda: set(slurm.count(others, "end")) == tasks, ARRAY_LIMIT, every=2.0)
    wait_for("an empty queue", lambda: slurm.queue(others[0]) == {}, ARRAY_LIMIT, every=2.0)
    assert slurm.count(others, "end") == dict.fromkeys(tasks, 1)
    controller.wait_ready()
    wait_formed(trio)
    wait_for("three idle workers", lambda: slurm.idle(others[0]) == 3, SLURM_LIMIT, every=2.0)


def test_the_job_of_a_worker_that_is_killed_runs_elsewhere(lab: Lab, trio: list[Machine], boot: Boot) -> None:
    slurm.prepare(trio)
    controller = find_controller(trio)
    assert controller is not None
    able = [machine for machine in trio if machine is not controller]
    job = slurm.submit(controller, SECONDS, "--exclude", controller.run("hostname"), limit=RUN_LIMIT)

    def runs_it() -> Machine | None:
        return next((machine for machine in able if slurm.count([machine], "begin")), None)

    lost = wait_for("the job to begin", runs_it, RUN_LIMIT)
    lost.power_cut()
    others = [machine for machine in trio if machine is not lost]
    wait_for("its end elsewhere", lambda: slurm.count(others, "end")[f"{job}.0"], ARRAY_LIMIT, every=2.0)
    lab.start(lost.spec, boot)
    lost.wait_ready()
    wait_formed(trio)
    assert slurm.count(others, "end") == {f"{job}.0": 1}
    wait_for("three idle workers", lambda: slurm.idle(controller) == 3, SLURM_LIMIT, every=2.0)


def test_the_queue_survives_two_moves_of_the_controller(trio: list[Machine]) -> None:
    slurm.prepare(trio)
    job = slurm.submit(trio[0], SECONDS, "--array=1-9", limit=RUN_LIMIT)
    held = slurm.submit(trio[0], 1, "--hold", "--job-name=waits", limit=RUN_LIMIT)
    for _ in range(2):
        controller = wait_for("a controller", lambda: find_controller(trio), TAKE_OVER_LIMIT)
        others = [machine for machine in trio if machine is not controller]
        controller.run("systemctl", "stop", "clusteros-agent")
        wait_for("another controller", partial(find_controller, others), TAKE_OVER_LIMIT)
        controller.run("systemctl", "start", "clusteros-agent")
    expected = {f"{job}.{number}": 1 for number in range(1, 10)}
    wait_for("all tasks to end", lambda: slurm.count(trio, "end") == expected, ARRAY_LIMIT, every=2.0)
    wait_for("the one that waits", lambda: slurm.queue(trio[0]) == {str(held): "PENDING"}, ARRAY_LIMIT)
    trio[0].run("scancel", str(held))
