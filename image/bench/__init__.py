# SPDX-License-Identifier: Apache-2.0
"""Measure builds, sizes and boots, as ratios within one run, and write table, JSON and chart."""

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rich.console import Console

from agent.errors import ClusterError
from image.bench import boots, builds, chart, figures, table
from image.cache import lock_cache
from image.environment import Environment, make_folder
from image.keys import KeySet
from image.manifest import Manifest, read_manifest
from image.pe import read_sections
from image.preflight import check_machine
from image.profiles import list_profiles
from image.progress import Phases

FORMAT = 1


def run_bench(environment: Environment, keys: KeySet, output: Path, *, runs: int) -> dict[str, Any]:
    """Measure all `runs` times, show it, write `bench.json` and `bench.svg`, return what the JSON says.

    Works in a folder of its own in the cache, removed at the end, so nothing of the user's changes. Takes
    about four minutes a run under TCG. Raises ClusterError when a build or a boot fails.
    """
    if runs < 1:
        raise ClusterError(f"--runs {runs} measures nothing", hint="give 1 or more")
    check_machine(environment.cache, output)
    load = os.getloadavg()[0]
    folder = make_folder(environment.cache / "bench")
    scratch = folder / "scratch"
    phases = Phases()
    with lock_cache(folder, phases.say), phases.show():
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            phases.begin("copy the project")
            bench = builds.prepare_bench(environment, keys, make_folder(scratch))
            built = builds.measure_builds(bench, environment, phases, runs=runs)
            manifest = built.build.manifest
            phases.begin("build the bare Debian image")
            debian = boots.build_debian(bench.bare, scratch)
            image = built.build.directory / f"{bench.order.name}.raw"
            booted = boots.measure_boots(image, debian, environment, scratch, phases, runs=runs)
            sizes = {manifest.profile: measure_sizes(built.build.directory, manifest)}
        except ClusterError as error:
            kept = _keep_logs(scratch, environment.project / "out/logs")
            raise ClusterError(error.message, hint=f"{error.hint or 'look why'}; logs: {kept}") from error
        finally:
            phases.begin("tidy up")
            shutil.rmtree(scratch, ignore_errors=True)
    sizes |= find_sizes(environment.project, besides=sizes.keys())
    ranked = [
        *figures.rank_builds(built.cold, built.warm, built.unchanged),
        *figures.rank_boots(booted.compare()),
        *figures.rank_sizes(sizes),
    ]
    table.show(ranked, built, booted, Console(file=sys.stdout, highlight=False))
    result = _describe(ranked, built, booted, sizes, load=load, runs=runs)
    subtitle = f"{manifest.version}, {os.cpu_count()} cores, {booted.acceleration.upper()}, {runs} runs each"
    output.mkdir(parents=True, exist_ok=True)
    (output / "bench.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    (output / "bench.svg").write_bytes(chart.draw_chart(ranked, subtitle))
    return result


def measure_sizes(directory: Path, manifest: Manifest) -> figures.Sizes:
    """Return the sizes of what a build made."""
    sizes = {artefact.role: artefact.size for artefact in manifest.artefacts}
    kernel = manifest.find_artefact("kernel")
    if kernel is None:
        raise ClusterError(f"{directory} has no kernel image", hint="build the profile again")
    sections = read_sections((directory / kernel.name).read_bytes(), kernel.name)
    return figures.Sizes(sizes["disk"], sizes["root"], sizes["kernel"], len(sections[".initrd"]))


def find_sizes(project: Path, *, besides: Collection[str]) -> dict[str, figures.Sizes]:
    """Return the sizes of the other profiles that are built in this checkout."""
    found = {}
    for profile in list_profiles(project):
        directory = project / "out" / profile
        if profile not in besides and (directory / "manifest.json").exists():
            found[profile] = measure_sizes(directory, read_manifest(directory / "manifest.json"))
    return found


def _keep_logs(scratch: Path, logs: Path) -> str:
    for log in scratch.glob("*.log"):
        shutil.copyfile(log, make_folder(logs) / f"bench-{log.name}")
    return str(logs / "bench-*.log")


def _describe(
    ranked: list[figures.Figure],
    built: builds.Measured,
    booted: boots.Boots,
    sizes: dict[str, figures.Sizes],
    *,
    load: float,
    runs: int,
) -> dict[str, Any]:
    """Return everything that was measured: seconds, bytes, and the figures in their own units."""
    manifest = built.build.manifest
    return {
        "format": FORMAT,
        "version": manifest.version,
        "commit": manifest.commit,
        "dirty": manifest.dirty,
        "runs": runs,
        "machine": {"cores": os.cpu_count(), "load_before": load, "acceleration": booted.acceleration},
        "figures": [each.describe() for each in ranked],
        "builds": {
            "cold": dataclasses.asdict(built.cold),
            "warm": dataclasses.asdict(built.warm),
            "unchanged": built.unchanged,
        },
        "sizes": {profile: dataclasses.asdict(size) for profile, size in sizes.items()},
        "boots": {
            "ours": [dataclasses.asdict(marks) for marks in booted.ours],
            "debian": [dataclasses.asdict(marks) for marks in booted.debian],
            "systemd": dataclasses.asdict(booted.chain),
        },
    }
