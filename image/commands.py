# SPDX-License-Identifier: Apache-2.0
"""The commands of build.py: the stages that each wires together."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.errors import ClusterError
from harness import cli
from harness.model import VmContext
from image.arguments import BENCH_RUNS
from image.assets import collect_assets, parse_given, read_assets
from image.browsertree import prepare_browser
from image.builder import Build, build_image, digest_configuration
from image.cache import locate_cache, lock_cache
from image.cluster import commands as cluster_commands
from image.environment import Environment, prepare_environment
from image.keys import KeySet, describe_keys, load_keys, make_keys
from image.mkosi import Order
from image.preflight import check_machine
from image.profiles import check_profile, list_profiles
from image.progress import Phases
from image.reproduce import lock_order, reproduce
from image.source import choose_version, read_source
from image.summary import show_build
from image.testing import list_steps, run_steps
from image.verify import choose_key, verify

_DEVELOPMENT_KEYS = Path("keys/dev")


def say(line: str) -> None:
    """Tell the user something that is not a result."""
    print(line, file=sys.stderr, flush=True)


def run(args: argparse.Namespace, project: Path) -> int:
    """Run the command that was asked for and return the exit status."""
    return _COMMANDS[args.command or "build"](args, project)


def _prepare(args: argparse.Namespace, project: Path) -> Environment:
    cache = locate_cache(project)
    with lock_cache(cache, say):
        return prepare_environment(project, cache, args.found_mirror, say)


def _keys(directory: Path | None, project: Path) -> KeySet:
    """Return the keys in `directory`, or the development keys, made at the first use."""
    if directory:
        return load_keys(directory)
    development = project / _DEVELOPMENT_KEYS
    if not development.exists():
        say(f"making development keys in {development}: good for tests, never for machines that matter")
        make_keys(development, development=True)
    return load_keys(development)


def _build(args: argparse.Namespace, project: Path) -> int:
    check_profile(project, args.profile)
    build, _ = build_profile(args, project, args.profile)

    show_build(build, project)
    return 0


def build_profile(args: argparse.Namespace, project: Path, profile: str) -> tuple[Build, Environment]:
    """Bring the artefacts of a profile up to date."""
    environment = _prepare(args, project)

    if args.jobs is not None:
        _limit_cores(args.jobs)
    keys, source = _keys(args.keys, project), read_source(project)
    if args.release and keys.development:
        raise ClusterError("--release refuses development keys", hint="make keys: ./build.py keys new DIR")
    if args.release and (source.dirty or not source.commit):
        raise ClusterError("--release refuses local changes", hint="commit them, or build from a clean clone")
    version = choose_version(project, args.version, development=keys.development)
    output = (args.output or project / "out" / profile).absolute()
    check_machine(environment.cache, output.parent)
    phases = Phases(verbose=args.verbose)
    log = project / "out/logs" / f"{profile}.log"
    given = parse_given(args.asset or ())
    with lock_cache(environment.cache, say), phases.show():
        order = Order(
            profile=profile,
            version=version,
            epoch=source.epoch,
            keys=keys,
            configuration=digest_configuration(project),
            refresh=args.refresh,
        )
        if args.locked:
            phases.begin("collect the recorded packages")
            order = lock_order(order, args.locked, environment, given)
        else:
            phases.begin("collect the assets")
            assets = collect_assets(read_assets(project), profile, given, environment.cache)
            order = replace(order, assets=assets)
        return build_image(order, source, environment, output, phases, log=log), environment


def _limit_cores(jobs: int) -> None:
    """Keep this process and its children on `jobs` cores, which all compressors and linkers respect."""
    cores = sorted(os.sched_getaffinity(0))
    if jobs < 1:
        raise ClusterError(f"--jobs {jobs} leaves nobody to work", hint="give 1 or more")
    os.sched_setaffinity(0, cores[:jobs])


def _profiles(_args: argparse.Namespace, project: Path) -> int:
    for name, text in list_profiles(project).items():
        print(f"{name:8} {text}")
    return 0


def _make_keys(args: argparse.Namespace, _project: Path) -> int:

    print(describe_keys(make_keys(args.directory, development=False)))
    return 0


def _verify(args: argparse.Namespace, project: Path) -> int:
    key = choose_key(args.key, project / _DEVELOPMENT_KEYS / "release.pub")
    environment = _prepare(args, project)

    report = verify(args.directory, key, environment.tools)
    if not args.key:
        print(f"note: checked against this checkout's development key {key}; others' need --key PUBKEY")
    for line in report.lines():
        print(line)
    return 0 if report.passed else 1


def _reproduce(args: argparse.Namespace, project: Path) -> int:
    environment = _prepare(args, project)

    against = args.against or project / "out" / (args.again or "vm") / "manifest.json"
    if args.again:
        check_profile(project, args.again)
    phases = Phases(verbose=args.verbose)
    with lock_cache(environment.cache, say), phases.show():
        report = reproduce(
            against,
            args.again,
            _keys(args.keys, project),
            environment,
            phases,
            given=parse_given(args.asset or ()),
        )
    for line in report.lines():
        print(line)
    return 0 if report.identical else 1


def _cluster(args: argparse.Namespace, project: Path) -> int:
    return cluster_commands.run(args, project, lambda: _prepare(args, project).tools)


def _vm(args: argparse.Namespace, project: Path) -> int:
    environment = _prepare(args, project)

    parser = argparse.ArgumentParser(prog="./build.py")
    cli.register(parser.add_subparsers())

    def credential(name: str) -> bytes | None:
        known = (project / cluster_commands.FOLDER / name).exists()
        return cluster_commands.read_credential(project, name) if known else None

    context = VmContext(environment.tools, project / "out/vm", project / "out/machines", credential)
    return cli.run(parser.parse_args(["vm", *args.rest]), context)


def _test(args: argparse.Namespace, project: Path) -> int:
    environment = _prepare(args, project)

    whole = args.command == "test"
    if whole:
        with lock_cache(environment.cache, say):
            prepare_browser(environment, say)
        for name in ("version", "keys", "output", "locked", "jobs", "asset"):
            setattr(args, name, None)
        if args.full:
            # k3s cannot be had everywhere: tests run its roles against a recorder in its place.
            from tests.k3s_recorder.pack import pack  # noqa: PLC0415

            recorder = pack(project / "out/k3s-recorder")
            args.asset = [f"k3s={recorder}", f"k3s-images={recorder}"]
            for profile in ("kube", "hpc-kube"):
                args.profile, args.output = profile, project / f"out/{profile}-recorder"
                build_profile(args, project, profile)
            args.output = args.asset = None
        # The one that `vm up` takes when none is named comes last.
        for profile in ("hpc", "vm"):
            args.profile = profile
            build_profile(args, project, profile)
    steps = list_steps(whole=whole, full=whole and args.full, arguments=args.pytest)
    run_steps(steps, project)
    say(f"all passed, with the tools in {environment.tools.root}")
    return 0


def _bench(args: argparse.Namespace, project: Path) -> int:
    environment = _prepare(args, project)

    output = project / "out/bench"
    if args.only in (None, "forming"):
        # That there is no image is said before, and not after all that is measured first.
        from harness.disks import find_image  # noqa: PLC0415

        find_image(project / "out/vm")
    for part, default in BENCH_RUNS.items():
        if args.only not in (None, part):
            continue
        runs = default if args.runs is None else args.runs
        # What draws charts is loaded by nobody else.
        if part == "image":
            from image.bench import run_bench  # noqa: PLC0415

            run_bench(environment, _keys(args.keys, project), output, runs=runs)
        elif part == "forming":
            from image.bench import forming  # noqa: PLC0415

            forming.run_bench(environment, output, runs=runs)
        elif part == "jobs":
            from image.bench import jobs  # noqa: PLC0415

            jobs.run_bench(environment, _keys(args.keys, project), output, runs=runs)
        else:
            from image.bench import cluster  # noqa: PLC0415

            cluster.run_bench(environment, output, runs=runs)
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace, Path], int]] = {
    "bench": _bench,
    "build": _build,
    "check": _test,
    "cluster": _cluster,
    "keys": _make_keys,
    "profiles": _profiles,
    "reproduce": _reproduce,
    "test": _test,
    "verify": _verify,
    "vm": _vm,
}
