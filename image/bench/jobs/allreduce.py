# SPDX-License-Identifier: Apache-2.0
"""An all-reduce over the mesh, beside the same over the bare bridge that the machines are plugged into."""

import re
from pathlib import Path

from agent.errors import ClusterError
from image.bench.jobs.trio import LIMIT, SIZE, Trio

PROGRAM = "/var/tmp/ring.py"  # noqa: S108 - of a machine that is thrown away
_SUM = re.compile(rf"sum over {SIZE} is right, ([0-9.]+) ms")


def measure(trio: Trio, program: Path) -> tuple[float, float]:
    """Return the milliseconds of one all-reduce over the mesh and over the bridge, each the less of two."""
    text = program.read_text()
    for machine in trio.machines:
        machine.run("sh", "-c", 'printf %s "$1" >"$2"', "sh", text, PROGRAM)
    nic = trio.machines[0].run("sh", "-c", "ip -oneline -4 route show default | sed 's/.* dev //; s/ .*//'")
    for machine in trio.machines:
        # The firewall lets nothing of the kind in from there.
        machine.run("nft", "insert", "rule", "inet", "cluster-os", "input", "iifname", nic, "accept")
    mesh, bridge = [], []
    for _ in range(2):
        mesh.append(_run(trio, "mesh0"))
        bridge.append(_run(trio, nic))
    return min(mesh), min(bridge)


def _run(trio: Trio, interface: str) -> float:
    variables = ("HOME=/root", f"OMPI_MCA_btl_tcp_if_include={interface}")
    argv = ("srun", f"--nodes={SIZE}", "--ntasks-per-node=1", "python3", PROGRAM)
    said = trio.machines[0].run("env", *variables, *argv, limit=LIMIT)
    found = _SUM.search(said)
    if found is None:
        raise ClusterError(f"the MPI program says: {said[-300:]}")
    return float(found[1])
