# SPDX-License-Identifier: Apache-2.0
"""The one module that runs other programs."""

import subprocess
from collections.abc import Sequence

from agent.errors import ClusterError


def run(argv: Sequence[str], *, stdin: bytes = b"", time_limit: float, hint: str) -> bytes:
    """Run a program with `stdin` and return its standard output.

    `time_limit` in seconds. Secrets go through `stdin` and the result, never through `argv`, which every user
    can read. Raises ClusterError with what the program wrote to standard error, and `hint`.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            timeout=time_limit,
            check=False,
            env={"PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        raise ClusterError(f"{argv[0]} is not installed", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{argv[0]} gave no answer in {time_limit:g} s", hint=hint) from None
    except OSError as error:
        raise ClusterError(f"{argv[0]} does not start: {error.strerror}", hint=hint) from None
    if done.returncode:
        # On one line, and the end of it where it is long: the cause may stand above the consequence.
        reason = " ".join(done.stderr.decode(errors="replace").split())[-400:]
        raise ClusterError(f"{argv[0]} failed: {reason or f'exit status {done.returncode}'}", hint=hint)
    return done.stdout
