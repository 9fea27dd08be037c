# SPDX-License-Identifier: Apache-2.0
"""Whether a machine qualifies for a role, and if not, why. Pure."""

from collections.abc import Collection

from agent.model import Facts
from agent.roles.role import Placement

MIB = 1 << 20


def find_obstacle(placement: Placement, facts: Facts, labels: Collection[str]) -> str | None:
    """Return what the machine lacks, in words for a person ("needs a GPU"); None when it qualifies."""
    if placement.architectures and facts.cpu.architecture not in placement.architectures:
        return f"needs a machine of {' or '.join(placement.architectures)}, not {facts.cpu.architecture}"
    if facts.cpu.threads < placement.cores:
        return f"needs {placement.cores} cores, and has {facts.cpu.threads}"
    if facts.memory_bytes < placement.memory * MIB:
        return f"needs {placement.memory} MiB of memory, and has {facts.memory_bytes // MIB}"
    if placement.gpu and not facts.gpus:
        return "needs a GPU"
    missing = [label for label in placement.labels if label not in labels]
    if missing:
        return f"needs the label {' and '.join(missing)} in node.yaml (roles.labels)"
    return None
