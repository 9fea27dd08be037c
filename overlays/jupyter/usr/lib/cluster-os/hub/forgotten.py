# SPDX-License-Identifier: Apache-2.0
"""End notebooks that the hub does not know: a user has one, and whatever job else has its name was forgotten.

The hub's database is copied some moments later than it is written (snapshots.py). What was started just
before its holder was lost runs on without a hub, and ends when its user starts another one.
"""

import asyncio
import re
from typing import Any

from agent.errors import ClusterError
from hub.client import ask
from hub.request import CANCEL, Run
from hub.spawners import JOB_NAME

TIME_LIMIT = 60.0
"""Seconds for the list of jobs, while a controller moves."""
_JOB = re.compile(r"^[1-9][0-9]{0,9}$", re.MULTILINE)


async def end_forgotten(spawner: Any) -> None:  # noqa: ANN401  the hub's spawner
    """Cancel the user's jobs that have the name of notebooks; JupyterHub's `pre_spawn_hook`."""
    user = str(spawner.user.name)
    try:
        for job in await _list(user):
            spawner.log.warning("Ending job %s of %s, which is no notebook that is known here", job, user)
            await ask(Run(user, (CANCEL, job), {}, ""))
    except ClusterError as error:
        # Not worth to refuse the user a new one.
        spawner.log.warning("Cannot look for forgotten notebooks of %s: %s", user, error.message)


def read_jobs(text: str) -> list[str]:
    """Return the job ids in what `squeue --format=%i` prints."""
    return _JOB.findall(text)


async def _list(user: str) -> list[str]:
    argv = ["squeue", "--noheader", f"--user={user}", f"--name={JOB_NAME}", "--format=%i"]
    try:
        async with asyncio.timeout(TIME_LIMIT):
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
    except (OSError, TimeoutError) as error:
        raise ClusterError(f"squeue gives no answer: {error}") from None
    return read_jobs(out.decode(errors="replace"))
