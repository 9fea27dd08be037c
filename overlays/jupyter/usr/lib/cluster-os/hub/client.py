# SPDX-License-Identifier: Apache-2.0
"""The hub's end of the broker, and `clusteros-as-user`, which its spawners put before SLURM's commands."""

import asyncio
import os
import sys

from agent.errors import ClusterError
from hub import request as requests
from hub.request import Answer, Request, Run

SOCKET = "/run/clusteros-jupyterhub/broker.sock"
TIME_LIMIT = 130.0
"""Seconds, more than the broker takes at most."""
QUERY = "squeue"
"""What needs nobody's rights: the hub asks it as itself."""


async def ask(request: Request) -> Answer:
    """Ask the broker. ClusterError when it does not answer."""
    try:
        async with asyncio.timeout(TIME_LIMIT):
            reader, writer = await asyncio.open_unix_connection(SOCKET, limit=requests.MAX_BYTES)
            try:
                writer.write(requests.encode(request))
                writer.write_eof()
                return requests.decode_answer(await reader.read())
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"the broker of JupyterHub does not answer: {error}",
            hint="see: systemctl status clusteros-jupyterhub-broker.socket",
        ) from None


def main(arguments: list[str]) -> int:
    """Run `USER COMMAND [ARGUMENT...]` with this environment and standard input. Returns its exit status."""
    if len(arguments) < 2:
        print("usage: clusteros-as-user USER COMMAND [ARGUMENT...]", file=sys.stderr)
        return 2
    user, *command = arguments
    if command[0] == QUERY:
        os.execvp(command[0], command)  # noqa: S606
    try:
        # Read only what there is to read: scancel has no input.
        said = sys.stdin.read() if command == list(requests.SUBMIT) else ""
        answer = asyncio.run(ask(Run(user, tuple(command), dict(os.environ), said)))
    except ClusterError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 125
    sys.stdout.write(answer.output)
    sys.stderr.write(answer.errors)
    return answer.status
