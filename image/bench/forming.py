# SPDX-License-Identifier: Apache-2.0
"""Measure three machines from power-on to one cluster, beside the boot of the same machines alone.

Both begin when the first of them is switched on, with fresh disks. Alone, they have no credential and nobody
to look for; the boot ends when the last of them reaches multi-user.target.
"""

import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from agent.errors import ClusterError
from harness.cluster import wait_formed
from harness.disks import find_image
from harness.machine import BOOT_LIMIT
from harness.model import JOIN_CREDENTIAL, Boot
from image.bench import chart
from image.bench.boots import CREDENTIALS, MARKS, watch_console
from image.bench.figures import Comparison, Figure
from image.bench.machines import hold_group, make_credential, start_machines
from image.bench.table import table_figures
from image.cache import lock_cache
from image.environment import Environment, make_folder
from image.preflight import check_machine
from image.progress import Phases

FORMAT = 1
SIZE = 3
RATIO = 1.6
"""Formed after at most so many boots."""
_BOOTED = "multi-user.target"
_CAPTION = "Seconds from power-on of the first machine; × is the least by the least."


def judge(formed: tuple[float, ...], alone: tuple[float, ...], together: tuple[float, ...]) -> list[Figure]:
    """Return the figures; `together` are the boots of machines that form a cluster as soon as they can."""
    return [
        Figure(
            f"{SIZE} machines, power-on to formed", Comparison(formed, alone).ratio, "× boot alone", RATIO
        ),
        Figure("power-on to formed", min(formed), "s"),
        Figure("boot alone", min(alone), "s"),
        Figure("boot while they form", min(together), "s"),
    ]


def run_bench(environment: Environment, output: Path, *, runs: int) -> dict[str, Any]:
    """Measure `runs` times in turns, show it, write `forming.json` and `forming.svg`, return what that says.

    Takes the image of profile vm as it is built. Raises ClusterError when there is none, or a boot fails.
    """
    if runs < 1:
        raise ClusterError(f"--runs {runs} measures nothing", hint="give 1 or more")
    check_machine(environment.cache, output)
    image = find_image(environment.project / "out/vm")
    load = os.getloadavg()[0]
    folder, phases = make_folder(environment.cache / "bench"), Phases()
    scratch = folder / "scratch"
    formed, alone, together = [], [], []
    with lock_cache(folder, phases.say), phases.show():
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            credential = make_credential(make_folder(scratch), SIZE)
            for run in range(runs):
                phases.begin(f"{SIZE} machines alone, {run + 1} of {runs}")
                alone.append(_measure(environment, image, scratch, phases, {})[0])
                phases.begin(f"{SIZE} machines form, {run + 1} of {runs}")
                booted, last = _measure(environment, image, scratch, phases, {JOIN_CREDENTIAL: credential})
                together.append(booted)
                formed.append(last)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    figures = judge(tuple(formed), tuple(alone), tuple(together))
    Console(file=sys.stdout, highlight=False).print(table_figures(figures, caption=_CAPTION))
    result = {
        "format": FORMAT,
        "runs": runs,
        "machine": {"cores": os.cpu_count(), "load_before": load},
        "figures": [each.describe() for each in figures],
        "samples": {"formed": formed, "alone": alone, "together": together},
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "forming.json").write_text(json.dumps(result, indent=2) + "\n")
    subtitle = f"{SIZE} machines from power-on to one cluster, {os.cpu_count()} cores, {runs} runs"
    (output / "forming.svg").write_bytes(chart.draw_chart(figures, subtitle))
    return result


def _measure(
    environment: Environment, image: Path, scratch: Path, phases: Phases, credentials: dict[str, bytes]
) -> tuple[float, float]:
    """Return the seconds to the last boot, and to the cluster of those who have a credential."""
    with hold_group(environment.tools, image, scratch, "bench-forming", phases.say) as group:
        begun = time.monotonic()
        start_machines(group, Boot(CREDENTIALS | credentials), size=SIZE)
        machines = group.machines()
        started = time.monotonic() - begun
        with ThreadPoolExecutor(SIZE) as pool:
            mark = {_BOOTED: MARKS[_BOOTED]}
            marks = pool.map(lambda machine: watch_console(machine, mark, limit=SIZE * BOOT_LIMIT), machines)
            booted = started + max(each.seconds[_BOOTED] for each in marks)
        if credentials:
            for machine in machines:
                machine.wait_ready()
            wait_formed(machines)
        return booted, time.monotonic() - begun
