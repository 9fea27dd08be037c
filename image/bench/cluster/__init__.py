# SPDX-License-Identifier: Apache-2.0
"""Measure clusters of real nodes in network namespaces, beside bare Serf and etcd, in turns.

Needs root, for the namespaces. Takes half a minute a run, a quarter of an hour for all.
"""

import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console

from agent.election.leases import TIMES
from agent.election.timing import Timing
from agent.errors import ClusterError
from image.bench import chart
from image.bench.cluster import bareserf, idle, nodes, samples, show, ticks
from image.bench.cluster.bytecode import make_bytecode
from image.bench.cluster.etcd import Etcd
from image.bench.cluster.ground import hold_ground, make_group
from image.bench.figures import Figure
from image.cache import lock_cache
from image.environment import Environment, make_folder
from image.progress import Phases

FORMAT = 1


def run_bench(environment: Environment, output: Path, *, runs: int) -> dict[str, Any]:
    """Measure all `runs` times, show it, write `cluster.json` and `cluster.svg`, return what the JSON says.

    Leaves no process and no file behind, however it ends. Raises ClusterError when something fails.
    """
    if runs < 1:
        raise ClusterError(f"--runs {runs} measures nothing", hint="give 1 or more")
    if os.geteuid() != 0:
        raise ClusterError("the bench of clusters makes network namespaces", hint="run it as root")
    load = os.getloadavg()[0]
    folder, phases = make_folder(environment.cache / "bench"), Phases()
    logs = make_folder(environment.project / "out/logs")
    with lock_cache(folder, phases.say), hold_ground(folder) as ground, phases.show():
        try:
            measured = measure(environment, ground, logs, phases, runs=runs)
        except (ClusterError, AssertionError) as error:
            hint = f"the logs of the nodes: {logs}/bench-node*.log"
            raise ClusterError(f"the bench of clusters failed: {error}", hint=hint) from error
        phases.begin("tidy up")
    figures = samples.judge(measured)
    show.show(measured, figures, Console(file=sys.stdout, highlight=False))
    result = describe(measured, figures, load=load, runs=runs)
    output.mkdir(parents=True, exist_ok=True)
    (output / "cluster.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    subtitle = f"clusters of {nodes.SIZE} nodes, {os.cpu_count()} cores, {runs} runs"
    (output / "cluster.svg").write_bytes(chart.draw_chart(figures, subtitle))
    return result


def measure(
    environment: Environment, ground: Path, logs: Path, phases: Phases, *, runs: int
) -> samples.Measured:
    """Measure everything; ours, bare Serf and etcd take turns."""
    tools = environment.tools
    phases.begin("compile the agent")
    variables = make_bytecode(make_group(ground, "bytecode"), tools)
    times: dict[str, list[float]] = defaultdict(list)
    for run in range(1, runs + 1):
        phases.begin(f"a cluster, {run} of {runs}")
        taken = nodes.measure(make_group(ground, "nodes"), tools, variables, logs)
        phases.begin(f"bare Serf, {run} of {runs}")
        taken |= bareserf.measure(make_group(ground, "serf"), tools)
        for name, seconds in taken.items():
            times[name].append(seconds)
    etcd = Etcd(make_group(ground, "etcd"), tools)
    try:
        for run in range(1, runs + 1):
            phases.begin(f"etcd, {run} of {runs}")
            times[samples.ETCD_COMMITTED].append(etcd.measure())
    finally:
        etcd.end()
    phases.begin("an idle cluster")
    rest = idle.measure(make_group(ground, "idle"), tools, variables, logs)
    ticked = {}
    for size in ticks.SIZES:
        phases.begin(f"ticks over {size} members")
        ticked[size] = ticks.measure(make_group(ground, "tick"), tools, size)
    return samples.Measured(times, rest, ticked, lease=TIMES.ttl)


def describe(measured: samples.Measured, figures: list[Figure], *, load: float, runs: int) -> dict[str, Any]:
    """Return everything that was measured, all samples included."""
    timing = Timing()
    return {
        "format": FORMAT,
        "runs": runs,
        "machine": {"cores": os.cpu_count(), "load_before": load},
        "raft": {"heartbeat": timing.heartbeat, "election": timing.election, "lease": measured.lease},
        "figures": [each.describe() for each in figures],
        "measured": [
            {
                "name": name,
                "unit": unit,
                **{label: samples.percentile(values, share) for label, share in samples.SHARES.items()},
                "samples": list(values),
            }
            for name, unit, values in samples.list_series(measured)
        ],
    }
