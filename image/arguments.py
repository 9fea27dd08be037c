# SPDX-License-Identifier: Apache-2.0
"""The command line of build.py. Standard library only: used before anything is installed."""

import argparse
from pathlib import Path

from image.cluster import arguments as cluster_arguments

BENCH_RUNS = {"image": 3, "cluster": 20, "forming": 3, "jobs": 3}
"""The parts of a bench, and how often each measures a thing."""


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a build."""
    parser.add_argument("--version", metavar="VERSION", help="version of the image (default: the project's)")
    parser.add_argument("--keys", metavar="DIR", type=Path, help="signing keys (default: development keys)")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="where the artefacts go (default: out/PROFILE)"
    )
    parser.add_argument(
        "--locked", metavar="FILE", type=Path, help="take exactly the packages of this manifest.json"
    )
    parser.add_argument(
        "--asset",
        metavar="NAME=FILE",
        action="append",
        help="take this file for an external asset instead of fetching it (image/assets.yaml)",
    )
    parser.add_argument("--jobs", metavar="N", type=int, help="use at most N processor cores")
    parser.add_argument("--release", action="store_true", help="refuse development keys and local changes")
    parser.add_argument(
        "--refresh", action="store_true", help="read package lists anew and install from scratch"
    )


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to the parser."""
    commands.add_parser("profiles", help="list what can be built")
    keys = commands.add_parser("keys", help="make signing keys")
    make = keys.add_subparsers(dest="keys_command", metavar="COMMAND", required=True)
    make.add_parser("new", help="make a new set of keys").add_argument("directory", metavar="DIR", type=Path)
    verify = commands.add_parser("verify", help="check artefacts against a release key")
    verify.add_argument("directory", metavar="DIR", type=Path)
    verify.add_argument(
        "--key",
        metavar="PUBKEY",
        type=Path,
        help="the publisher's release.pub, in minisign's format (default: this checkout's development key)",
    )
    again = commands.add_parser(
        "reproduce", help="build again from the recorded packages and compare every byte"
    )
    again.add_argument(
        "--profile", dest="again", metavar="NAME", help="the profile (default: the manifest's)"
    )
    again.add_argument(
        "--against", metavar="FILE", type=Path, help="manifest.json (default: out/PROFILE/manifest.json)"
    )
    cluster_arguments.register(commands)
    commands.add_parser("vm", help="run local VMs from the built image", add_help=False)
    check = commands.add_parser("check", help="lint, types and fast tests")
    test = commands.add_parser("test", help="everything, VMs included")
    test.add_argument("--full", action="store_true", help="also what takes too long for every change")
    for command in (check, test):
        command.add_argument("pytest", nargs="*", metavar="ARG", help="for pytest")
    bench = commands.add_parser("bench", help="measure builds, sizes, boots, clusters and jobs")
    bench.add_argument(
        "--only", choices=BENCH_RUNS, help="measure this part alone (image: builds, sizes, boots)"
    )
    bench.add_argument(
        "--runs",
        metavar="N",
        type=int,
        help="how often each thing is measured "
        f"({', '.join(f'{part} {runs}' for part, runs in BENCH_RUNS.items())})",
    )
