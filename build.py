#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Build, verify, reproduce, run and test Cluster-OS images. `./build.py --help` lists the commands.

Argument parsing and wiring only. Until the environment is prepared this runs on the standard library alone.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(PROJECT), str(PROJECT / "vm-tests")]

from agent.errors import ClusterError  # noqa: E402 - our own folders come onto the path first
from image import arguments  # noqa: E402
from image.cache import locate_cache, lock_cache  # noqa: E402
from image.environment import prepare_python  # noqa: E402
from image.mirror import find_mirror  # noqa: E402
from image.oserrors import explain_refusal  # noqa: E402


def compose_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="./build.py",
        description="Build signed, reproducible Cluster-OS images, and run and test them.",
        epilog="Start with: ./build.py --profile vm. The README says more.",
    )
    parser.add_argument("--profile", metavar="NAME", help="build this profile (see: ./build.py profiles)")
    arguments.add_build_options(parser)
    parser.add_argument(
        "--mirror", metavar="URL", help="Debian mirror (default: the one this machine's apt uses)"
    )
    parser.add_argument("--verbose", action="store_true", help="show all output of the programs that are run")
    arguments.register(parser.add_subparsers(dest="command", metavar="COMMAND", title="commands"))
    return parser


def say(line: str) -> None:
    """Tell the user something that is not a result."""
    print(line, file=sys.stderr, flush=True)


def tell(error: ClusterError) -> int:
    """Tell the user what went wrong and what to do; returns the exit status."""
    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")
    return 1


def main(argv: list[str]) -> int:
    """Run one command; the exit status is 0 done, 1 an error was told, 2 wrong usage, 130 interrupted."""
    parser = compose_parser()
    args, rest = parser.parse_known_args(argv)
    if args.command == "vm":
        # Its parser comes with the harness, which needs packages that may not be installed yet.
        args.rest = argv[argv.index("vm") + 1 :]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if (args.command is None) == (args.profile is None):
        parser.error("give a profile to build or a command, one of them")
    # A polite end, from a service manager or a closed terminal, cleans up as Ctrl-C does, also where a shell
    # in the background has us ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        cache = locate_cache(PROJECT)
        # Byte code goes to the cache: loading is quicker, and the checkout, which images take, stays clean.
        sys.pycache_prefix, sys.dont_write_bytecode = str(cache / "bytecode"), False
        args.found_mirror = find_mirror(args.mirror, cache / "mirror.json")
        with lock_cache(cache, say):
            prepare_python(PROJECT, cache, args.found_mirror, say)
        from image import commands  # noqa: PLC0415 - it needs the packages that were just prepared

        return commands.run(args, PROJECT)
    except ClusterError as error:
        return tell(error)
    except KeyboardInterrupt:
        print("interrupted: nothing was changed in the output", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        refusal = explain_refusal(error)
        if refusal is None:
            raise
        return tell(refusal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
