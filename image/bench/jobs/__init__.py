# SPDX-License-Identifier: Apache-2.0
"""Measure SLURM on three real machines: the loss of its controller, MPI, and what roles add to an image.

The loss is measured on the same machines with our roles and with SLURM's own backup controller. Takes three
quarters of an hour under TCG with three runs, and three minutes more for each further run.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from agent.errors import ClusterError
from image.bench import chart, measure_sizes
from image.bench.builds import prepare_bench
from image.bench.figures import MIB, Figure
from image.bench.jobs import allreduce
from image.bench.jobs.backup import Backup
from image.bench.jobs.kills import TASKS, kill_controller
from image.bench.jobs.trio import hold_trio
from image.bench.table import table_figures
from image.cache import lock_cache
from image.environment import Environment, make_folder
from image.keys import KeySet
from image.preflight import check_machine
from image.progress import Phases

FORMAT = 1
FASTER = 5.0
"""Scheduling again takes at most this part of what SLURM's own backup takes at its default timeout."""
BUILD_RATIO = 2.5
"""A build of profile hpc takes at most so many times what one of vm takes."""
COMPARED = 3
"""How often SLURM's own backup is measured at most: its time-out is what it takes, and hardly varies."""
ROOT_SIZE = 900.0
"""MiB of the root partition of profile hpc."""
_SERVER = "[Match]\nProfiles=hpc\n\n[Content]\nPackages=nfs-kernel-server\n"
_CAPTION = "Times are medians, from the power cut of the controller's machine to the end of a first new job."


@dataclass(frozen=True)
class Measured:
    """Seconds of each loss, milliseconds of an all-reduce, MiB of root partitions by what is in them."""

    ours: tuple[float, ...]
    slurms: tuple[float, ...]
    mesh: float
    bridge: float
    roots: dict[str, float]
    build: float  # seconds for profile hpc in units of those for vm, both from nothing but packages
    wrong: int  # tasks that ended never or twice, of those in the queue at our losses


def judge(measured: Measured) -> list[Figure]:
    """Return the figures; the median of ours beside the median of SLURM's."""
    ours, slurms = (sorted(times)[len(times) // 2] for times in (measured.ours, measured.slurms))
    names = list(measured.roots)
    return [
        Figure("controller lost to the first new job", ours, "s", slurms / FASTER),
        Figure("the same with SLURM's own backup", slurms, "s"),
        Figure("tasks lost or run twice", measured.wrong, f"of {TASKS * len(measured.ours)}", 0),
        Figure("all-reduce of 512 KiB, 3 members, mesh", measured.mesh, "ms"),
        Figure("the same over the bare bridge", measured.bridge, "ms"),
        Figure("cold build of hpc", measured.build, "× vm", BUILD_RATIO),
        *(
            Figure(
                f"root partition: {name}",
                measured.roots[name],
                "MiB",
                ROOT_SIZE if name == names[-1] else None,
            )
            for name in names
        ),
    ]


def run_bench(environment: Environment, keys: KeySet, output: Path, *, runs: int) -> dict[str, Any]:
    """Measure our losses `runs` times, show all, write `jobs.json` and `jobs.svg`, return what the JSON says.

    Leaves no machine and no file behind. Raises ClusterError when something fails.
    """
    if runs < 1:
        raise ClusterError(f"--runs {runs} measures nothing", hint="give 1 or more")
    check_machine(environment.cache, output)
    load = os.getloadavg()[0]
    folder, phases = make_folder(environment.cache / "bench"), Phases()
    scratch = folder / "scratch"
    with lock_cache(folder, phases.say), phases.show():
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            measured = _measure(environment, keys, make_folder(scratch), phases, runs=runs)
        finally:
            phases.begin("tidy up")
            shutil.rmtree(scratch, ignore_errors=True)
    figures = judge(measured)
    Console(file=sys.stdout, highlight=False).print(table_figures(figures, caption=_CAPTION))
    result = {
        "format": FORMAT,
        "runs": runs,
        "machine": {"cores": os.cpu_count(), "load_before": load},
        "figures": [each.describe() for each in figures],
        "samples": {"ours": measured.ours, "slurm": measured.slurms},
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "jobs.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    subtitle = f"three machines with SLURM, {os.cpu_count()} cores, {runs} runs"
    (output / "jobs.svg").write_bytes(chart.draw_chart(figures, subtitle))
    return result


def _measure(environment: Environment, keys: KeySet, scratch: Path, phases: Phases, *, runs: int) -> Measured:
    roots, ratio = _measure_builds(environment, keys, scratch, phases)
    phases.begin("build an image with an NFS server")
    bench = prepare_bench(environment, keys, make_folder(scratch / "server"), profile="hpc", added=_SERVER)
    _, build = bench.build()
    image = build.directory / f"{bench.order.name}.raw"
    phases.begin("three machines")
    ours, slurms, wrong = [], [], 0
    with hold_trio(environment.tools, image, scratch, phases.say) as trio:
        phases.begin("an all-reduce")
        mesh, bridge = allreduce.measure(trio, environment.project / "vm-tests/mpi_ring.py")
        for run in range(runs):
            phases.begin(f"our controller is lost, {run + 1} of {runs}")
            seconds, more = kill_controller(trio)
            ours.append(seconds)
            wrong += more
            # What was measured is told at once: hours later something may fail.
            phases.say(f"{seconds:.1f} s to the first new job; {more} of {TASKS} tasks lost or run twice")
        phases.begin("SLURM with a backup controller")
        backup = Backup(trio)
        backup.begin()
        compared = min(runs, COMPARED)
        for run in range(compared):
            phases.begin(f"SLURM's primary is lost, {run + 1} of {compared}")
            if run:
                backup.restore()
            slurms.append(backup.measure())
            phases.say(f"{slurms[-1]:.1f} s to the first new job")
    return Measured(tuple(ours), tuple(slurms), mesh, bridge, roots, ratio, wrong)


def _measure_builds(
    environment: Environment, keys: KeySet, scratch: Path, phases: Phases
) -> tuple[dict[str, float], float]:
    """Return MiB of the root partition by what is in it, and the ratio of builds."""
    found, seconds = {}, []
    for name, profile, without in (
        ("base (vm)", "vm", ""),
        ("base and SLURM", "hpc", "65-jupyter.conf"),
        ("base, SLURM and JupyterHub (hpc)", "hpc", ""),
    ):
        phases.begin(f"build: {name}")
        bench = prepare_bench(
            environment, keys, make_folder(scratch / "size"), profile=profile, without=without
        )
        timing, build = bench.build()
        seconds.append(timing.seconds)
        found[name] = measure_sizes(build.directory, build.manifest).root / MIB
        shutil.rmtree(scratch / "size")
    return found, seconds[-1] / seconds[0]
