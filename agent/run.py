# SPDX-License-Identifier: Apache-2.0
"""The one module that runs other programs."""

import subprocess
from collections.abc import Sequence

from agent.errors import ClusterError


def run(argv: Sequence[str], *, stdin: bytes = b"", time_limit: float, hint: str) -> bytes:
    """Run a program with `stdin` and return its standard output.

    `time_limit` in seconds. Secrets go through `stdin` and the result, never through `argv`, which every user
    can read. Raises ClusterError with the last line of the program's standard error, and `hint`.
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
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1].strip() if lines else f"exit status {done.returncode}"
        raise ClusterError(f"{argv[0]} failed: {reason[:300]}", hint=hint)
    return done.stdout
