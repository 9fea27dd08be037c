# SPDX-License-Identifier: Apache-2.0
"""What an agent takes of its machine while nothing happens, in a cluster of five.

The bench gives the exact figures; here it is seen that they stay about what they are to be.
"""

import time

import pytest

from harness import processes
from image.bench.cluster.idle import read_cpu, read_memory
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import Machine, Machines, wait_formed
from tests.cluster.observed import wait_alive, wait_holder

pytestmark = pytest.mark.full

WINDOW = 15.0
"""Seconds that are looked at."""
MOST_CPU = 1.0
"""Per cent of a core."""
ALLOWANCE = 2.0
"""A machine that does other things at the same time takes more processor time for the same work."""
MOST_MEMORY = 60.0  # MiB


@pytest.fixture(scope="module")
def cluster(heap: Machines) -> list[Machine]:
    machines = heap.start(5, encode(make_credential(5)))
    wait_formed(machines)
    wait_alive(machines)
    wait_holder(machines, 20)
    return machines


def test_an_idle_agent_takes_about_a_hundredth_of_a_core_and_little_memory(cluster: list[Machine]) -> None:
    group = cluster[0].folder.parent
    agents = [processes.find(group, f"{machine.name}.agent")[-1] for machine in cluster]
    began = time.monotonic()
    before = [read_cpu(agent) for agent in agents]
    time.sleep(WINDOW)  # what is measured is time itself
    share = 100 / (time.monotonic() - began)
    cpu = [share * (read_cpu(agent) - earlier) for agent, earlier in zip(agents, before, strict=True)]
    memory = [read_memory(agent) for agent in agents]
    for machine, percent, size in zip(cluster, cpu, memory, strict=True):
        print(f"{machine.name}, {machine.status()['raft']['role']}: {percent:.2f} %, {size:.1f} MiB")
    assert max(cpu) < MOST_CPU * ALLOWANCE
    assert max(memory) < MOST_MEMORY
