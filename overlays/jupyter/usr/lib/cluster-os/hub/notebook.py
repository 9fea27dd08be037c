# SPDX-License-Identifier: Apache-2.0
"""Start a user's notebook server inside a job: what `clusteros-notebook` runs, as that user, on any member.

batchspawner's own program does the rest: it tells the hub its port, and becomes the notebook server.
"""

import os
import socket
import sys
from urllib.parse import urlsplit, urlunsplit

ANY = "0.0.0.0"  # noqa: S104  what the hub writes, as it cannot know the member
VARIABLE = "JUPYTERHUB_SERVICE_URL"


def main() -> int:
    """Serve at this member's mesh address, where the hub's proxy is, and nowhere else."""
    from batchspawner.singleuser import main as serve  # noqa: PLC0415  after the path is set

    here = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    os.environ[VARIABLE] = bind(os.environ.get(VARIABLE, ""), str(here))
    print(f"notebook of job {os.environ.get('SLURM_JOB_ID')} at {here}", file=sys.stderr, flush=True)
    serve()
    return 0


def bind(url: str, address: str) -> str:
    """Return the URL of the server with this address for any."""
    parts = urlsplit(url)
    if parts.hostname != ANY:
        return url
    return urlunsplit(parts._replace(netloc=f"{address}:{parts.port or 0}"))
