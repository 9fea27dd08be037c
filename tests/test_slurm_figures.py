# SPDX-License-Identifier: Apache-2.0
"""How the SLURM controller's role counts: programs in the place of SLURM's print what it is given."""

import os
import subprocess
from pathlib import Path

from agent.roles.figures import parse_figures

SCRIPT = Path(__file__).parent.parent / "overlays/slurm/usr/lib/cluster-os/roles/slurm-controller/figures"


def count(folder: Path, jobs: str, nodes: str, status: int = 0) -> "subprocess.CompletedProcess[bytes]":
    for name, text in (("squeue", jobs), ("sinfo", nodes)):
        program = folder / name
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\nexit {status}\n")
        program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run([SCRIPT], capture_output=True, check=False, env={"PATH": path}, timeout=20)


def test_jobs_and_nodes_are_counted_by_state_and_each_node_once(tmp_path: Path) -> None:
    done = count(
        tmp_path,
        "RUNNING\nRUNNING\nPENDING\nCOMPLETED\n",
        "n-a idle\nn-a idle\nn-b mix\nn-c alloc\nn-d down*\nn-e idle*\nn-f drain\n",
    )
    assert parse_figures(done.stdout) == {
        "jobs running": 2,
        "jobs pending": 1,
        "nodes idle": 1,
        "nodes busy": 2,
        "nodes down": 3,
    }


def test_an_empty_cluster_counts_zero(tmp_path: Path) -> None:
    assert set(parse_figures(count(tmp_path, "", "").stdout).values()) == {0}


def test_a_controller_that_does_not_answer_gives_no_figures(tmp_path: Path) -> None:
    done = count(tmp_path, "", "", status=1)
    assert done.returncode != 0
    assert done.stdout == b""
