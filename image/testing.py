# SPDX-License-Identifier: Apache-2.0
"""Run the project's own checks and tests, in the order in which they are quickest to fail."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ClusterError

_CLUSTER_TESTS = "tests/cluster"
"""Real agents in network namespaces: seconds each, too long for every save."""
_BROWSER_TESTS = "tests/browser"
"""Web pages in a real browser, which is in a tree of its own (image/browsertree.py)."""
_HUB = "overlays/jupyter/usr/lib/cluster-os/hub"
_PYTHON_FOLDERS = ("build.py", "agent", "firstboot", "image", "tests", "vm-tests", _HUB)
# Whatever plugins the machine's own Python has stay out.
_VARIABLES = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@dataclass(frozen=True)
class Step:
    """One tool to run; `name` is what a person calls it."""

    name: str
    argv: tuple[str, ...]


def list_steps(*, whole: bool, full: bool = False, arguments: Sequence[str] = ()) -> list[Step]:
    """Return the steps of `check`, or of the `whole` test; `arguments` go to pytest.

    `full` adds the tests that are marked so, as they take too long for every change.
    """
    python = sys.executable
    # Each file's tests stay together, as they share what is slow to make.
    cores = len(os.sched_getaffinity(0))
    spread = ("-p", "xdist", f"--numprocesses={cores}", "--dist=loadfile")
    # Properties are tried on fewer examples where somebody waits.
    profile = ("-p", "hypothesispytest", f"--hypothesis-profile={'whole' if whole else 'quick'}")
    fast = (*spread, *profile, "tests", f"--ignore={_CLUSTER_TESTS}", f"--ignore={_BROWSER_TESTS}")
    steps = [
        Step("lint", (python, "-m", "ruff", "check", "--quiet", ".")),
        Step("format", (python, "-m", "ruff", "format", "--check", "--quiet", ".")),
        Step("types", (python, "-m", "mypy", "--no-error-summary", *_PYTHON_FOLDERS)),
        Step("tests", (python, "-m", "pytest", *fast, *arguments)),
    ]
    if whole:
        chosen = () if full else ("-m", "not full")
        # What takes long is named at the end, since the whole has a limit.
        slow = (*chosen, "--durations=12", "--durations-min=20", *arguments)
        steps.append(Step("cluster tests", (python, "-m", "pytest", *spread, _CLUSTER_TESTS, *slow)))
        steps.append(Step("browser tests", (python, "-m", "pytest", _BROWSER_TESTS, *slow)))
        steps.append(Step("VM tests", (python, "-m", "pytest", "vm-tests", *slow)))
    return steps


def run_steps(steps: Sequence[Step], project: Path) -> None:
    """Run all steps, also after one failed, and raise ClusterError that names the failed ones."""
    failed = []
    for step in steps:
        print(f"== {step.name}", flush=True)
        begun = time.monotonic()
        status = subprocess.run(
            step.argv, cwd=project, stdin=subprocess.DEVNULL, check=False, env={**os.environ, **_VARIABLES}
        ).returncode
        print(
            f"== {step.name}: {'passed' if status == 0 else 'FAILED'} in {time.monotonic() - begun:.0f} s",
            flush=True,
        )
        if status != 0:
            failed.append(step.name)
    if failed:
        raise ClusterError(f"failed: {', '.join(failed)}", hint="the output above says why")
