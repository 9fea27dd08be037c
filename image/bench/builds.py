# SPDX-License-Identifier: Apache-2.0
"""Measure builds beside bare mkosi runs of the same configuration, in turns, in folders of their own.

A copy of the project is built with a copy of the package cache, so that an input can be changed, nobody's
edits come in between, and everything that is made stays below the scratch folder.
"""

import io
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from agent.errors import ClusterError
from image.bench.figures import BuildTimes, Timing
from image.builder import Build, build_image, digest_configuration
from image.cache import lock_cache, remove_tree
from image.environment import Environment, make_folder
from image.keys import KeySet
from image.mkosi import FIRST_PHASE, Order, compose_command, name_phase, trees_of
from image.packagecache import check_archives
from image.process import run_logged
from image.progress import Phases
from image.source import Source, choose_version, read_source

PROFILE = "vm"
# What both builders read of the user's cache; they never write to it.
_SHARED = ("mkosi", "sources")
_NOT_COPIED = {".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "keys", "out"}
_CHANGED = "overlays/base/usr/lib/cluster-os/bench"


@dataclass(frozen=True)
class Measured:
    """The times of all builds, and the image of the last unchanged one."""

    cold: BuildTimes
    warm: BuildTimes
    unchanged: tuple[float, ...]
    build: Build


@dataclass(frozen=True)
class Bench:
    """The two builders that are compared: our own and bare mkosi, each with its own trees."""

    order: Order
    source: Source
    ours: Environment
    bare: Environment
    output: Path
    scratch: Path

    def build(self) -> tuple[Timing, Build]:
        """Build as `./build.py` does and return what it took."""
        phases = _be_quiet()
        begun = time.monotonic()
        with phases.show():
            build = build_image(
                self.order, self.source, self.ours, self.output, phases, log=self.scratch / "ours.log"
            )
        return Timing(time.monotonic() - begun, dict(phases.seconds)), build

    def build_bare(self) -> Timing:
        """Run mkosi by itself for the same order and return what it took."""
        phases = _be_quiet()
        output, workspace = (make_folder(self.bare.cache / name) for name in ("output", "workspace"))
        make_folder(trees_of(self.bare, self.order.profile))
        command = compose_command(self.order, self.bare, output=output, scratch=workspace)
        begun = time.monotonic()
        with phases.show():
            phases.begin(FIRST_PHASE)
            run_logged(
                command,
                log=self.scratch / "mkosi.log",
                what="building with mkosi alone",
                env=self.bare.mkosi_variables,
                cwd=self.bare.project,
                each_line=lambda line: _follow(phases, line),
            )
        return Timing(time.monotonic() - begun, dict(phases.seconds))

    def forget(self) -> None:
        """Remove all installed trees and results, so that the next builds are cold."""
        remove_tree(trees_of(self.ours, self.order.profile))
        remove_tree(self.output)
        shutil.rmtree(trees_of(self.bare, self.order.profile), ignore_errors=True)
        shutil.rmtree(self.bare.cache / "output", ignore_errors=True)


def prepare_bench(
    environment: Environment,
    keys: KeySet,
    scratch: Path,
    *,
    profile: str = PROFILE,
    added: str = "",
    without: str = "",
) -> Bench:
    """Copy the project and lay out the folders of both builders.

    `added` are lines of mkosi.conf(5), `without` is a file of mkosi.conf.d/ that is left out.
    """
    project = scratch / "project"
    _copy_project(environment, project)
    if added:
        (project / "mkosi.conf.d/90-bench.conf").write_text(added)
    if without:
        (project / "mkosi.conf.d" / without).unlink()
    _copy_packages(environment.cache / "packages", scratch / "packages")
    source = read_source(project)
    ours, bare = (_make_environment(environment, project, scratch / name) for name in ("ours", "bare"))
    order = Order(
        profile=profile,
        version=choose_version(project, None, development=keys.development),
        epoch=source.epoch,
        keys=keys,
        configuration=digest_configuration(project),
    )
    return Bench(order, source, ours, bare, make_folder(scratch / "out") / profile, scratch)


def _make_environment(environment: Environment, project: Path, cache: Path) -> Environment:
    make_folder(cache)
    for shared in _SHARED:
        (cache / shared).symlink_to(environment.cache / shared)
    (cache / "packages").symlink_to("../packages")
    return replace(environment, project=project, cache=cache)


def _copy_project(environment: Environment, project: Path) -> None:
    def skip(folder: str, names: list[str]) -> set[str]:
        top = Path(folder) == environment.project
        return {
            name
            for name in names
            if name == "__pycache__"
            or (top and name in _NOT_COPIED)
            or Path(folder, name) == environment.cache
        }

    shutil.copytree(environment.project, project, symlinks=True, ignore=skip)


def _copy_packages(packages: Path, copy: Path) -> None:
    """Copy the package cache without doubling it: package files never change, so a hard link will do."""

    def take(source: str, target: str) -> str:
        if source.endswith(".deb"):
            os.link(source, target)
            return target
        return shutil.copy2(source, target)

    make_folder(packages)
    shutil.copytree(
        packages, copy, symlinks=True, ignore=shutil.ignore_patterns("*.seal"), copy_function=take
    )


def measure_builds(bench: Bench, environment: Environment, phases: Phases, *, runs: int) -> Measured:
    """Measure `runs` builds of each kind; our builds and bare ones take turns, and turns in going first."""
    cold: list[tuple[Timing, Timing]] = []
    warm: list[tuple[Timing, Timing]] = []
    unchanged: list[float] = []
    with lock_cache(environment.cache, phases.say):
        if not trees_of(environment, PROFILE).exists():
            phases.begin("fetch packages by a build that does not count")
            bench.build()
        check_archives(bench.ours.cache, phases.say)
        for run in range(runs):
            phases.begin(f"cold builds, {run + 1} of {runs}")
            bench.forget()
            cold.append(_measure_pair(bench, ours_first=run % 2 == 0))
        for run in range(runs):
            phases.begin(f"warm builds, {run + 1} of {runs}")
            changed = _change(bench, f"{run}\n")
            warm.append(_measure_pair(changed, ours_first=run % 2 == 0))
        phases.begin("the image to boot")
        (bench.ours.project / _CHANGED).unlink()
        _, build = bench.build()
    for run in range(runs):
        phases.begin(f"builds without a change, {run + 1} of {runs}")
        unchanged.append(_measure_unchanged(bench, environment))
    return Measured(_gather(cold), _gather(warm), tuple(unchanged), build)


def _change(bench: Bench, content: str) -> Bench:
    """Change an input of the image, and tell the builder, as build.py would."""
    (bench.ours.project / _CHANGED).write_text(content)
    return replace(bench, order=replace(bench.order, configuration=digest_configuration(bench.ours.project)))


def _measure_pair(bench: Bench, *, ours_first: bool) -> tuple[Timing, Timing]:
    bare = None if ours_first else bench.build_bare()
    ours, _ = bench.build()
    return ours, bare or bench.build_bare()


def _be_quiet() -> Phases:
    return Phases(Console(file=io.StringIO(), force_terminal=False))


def _follow(phases: Phases, line: str) -> None:
    if name := name_phase(line):
        phases.begin(name)


def _gather(pairs: list[tuple[Timing, Timing]]) -> BuildTimes:
    return BuildTimes(tuple(ours for ours, _ in pairs), tuple(bare for _, bare in pairs))


def _measure_unchanged(bench: Bench, environment: Environment) -> float:
    """Run build.py itself, in the copy, with the user's cache; return the seconds it took to do nothing."""
    command = [sys.executable, str(bench.ours.project / "build.py"), "--profile", PROFILE]
    command += ["--output", str(bench.output), "--keys", str(bench.order.keys.directory)]
    if environment.mirror.archive:
        command += ["--mirror", environment.mirror.archive]
    begun = time.monotonic()
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CLUSTEROS_CACHE": str(environment.cache)},
    )
    taken = time.monotonic() - begun
    if done.returncode or not done.stdout.startswith("Up to date"):
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise ClusterError(f"a build without a change did not find all up to date: {lines[0]}")
    return taken
