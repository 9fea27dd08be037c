# SPDX-License-Identifier: Apache-2.0
"""Measure what an idle node takes, agent and Serf apart, in a cluster to which nothing happens."""

import time
from collections.abc import Mapping
from pathlib import Path

from harness import processes
from image.bench.cluster import samples
from image.bench.cluster.nodes import hold_cluster
from image.toolstree import ToolsTree

CALM = 15.0
"""Seconds after forming that do not count: forming itself is not idleness."""
WINDOW, WINDOWS = 5.0, 4
"""Seconds of a sample of CPU time, and how many each process gets."""
MIB_KB = 1024
_ROLES = {
    "agent": (samples.AGENT_CPU, samples.AGENT_MEMORY),
    "serf": (samples.SERF_CPU, samples.SERF_MEMORY),
}


def measure(
    group: Path, tools: ToolsTree, variables: Mapping[str, str], logs: Path
) -> dict[str, list[float]]:
    """Form a cluster, let it be, and return samples of each node: percent of a core, MiB resident."""
    found: dict[str, list[float]] = {name: [] for names in _ROLES.values() for name in names}
    with hold_cluster(group, tools, variables, logs) as cluster:
        cluster.form()
        time.sleep(CALM)
        programs = {role: cluster.find_processes(role) for role in _ROLES}
        for _ in range(WINDOWS):
            before = {role: [read_cpu(each) for each in programs[role]] for role in _ROLES}
            began = time.monotonic()
            time.sleep(WINDOW)
            for role, (cpu, memory) in _ROLES.items():
                after = [read_cpu(each) for each in programs[role]]
                share = 100 / (time.monotonic() - began)
                found[cpu] += [
                    share * (then - earlier) for earlier, then in zip(before[role], after, strict=True)
                ]
                found[memory] += [read_memory(each) for each in programs[role]]
    return found


def read_cpu(process: processes.Process) -> float:
    """Return the seconds of CPU time of a process, ended threads included (clock_getcpuclockid(3))."""
    return time.clock_gettime(~process.pid << 3 | 2)


def read_memory(process: processes.Process) -> float:
    """Return the resident memory of a process in MiB (VmRSS, proc_pid_status(5))."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / MIB_KB
    raise ProcessLookupError(process.pid)
