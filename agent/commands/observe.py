# SPDX-License-Identifier: Apache-2.0
"""What a command can learn of the agent of this node: from itself, or from what it published last."""

import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

from agent.control.client import NotAllowedError, NotRunningError, ask
from agent.control.protocol import printable
from agent.control.runtime import Runtime
from agent.errors import ClusterError
from agent.status import published
from agent.status.document import NodeStatus
from agent.status.tables import duration

TIME_LIMIT = 10.0  # seconds for the agent to say how it is
STALE = 20.0  # seconds after which a published document may no longer be true


class Seen(NamedTuple):
    """The status document if there is one, its age in seconds, and whether an agent stands behind it."""

    status: NodeStatus | None
    age: float
    running: bool


def observe(runtime: Runtime) -> Seen:
    """Ask the agent; where it does not run, or this user may not ask, read what it published last."""
    try:
        answer = ask(runtime.socket, {"request": "status"}, time_limit=TIME_LIMIT)
        return _seen(NodeStatus.from_dict(answer.get("status"), "the agent's answer"), running=True)
    except NotRunningError:
        return _seen(published.read(runtime.status), running=False)
    except NotAllowedError:
        seen = _seen(published.read(runtime.status), running=True)
        return seen._replace(running=seen.age <= STALE)


def require(runtime: Runtime) -> tuple[NodeStatus, bool]:
    """Return the status document and whether an agent stands behind it; says so where none does.

    Raises NotRunningError when nothing is known.
    """
    seen = observe(runtime)
    if seen.status is None:
        raise NotRunningError(
            "the agent is not running, and has published nothing since this machine started",
            hint="see why: systemctl status clusteros-agent; journalctl -b -u clusteros-agent",
        )
    if not seen.running:
        print(note(seen), file=sys.stderr)
    return seen.status, seen.running


def note(seen: Seen) -> str:
    """Return the sentence that goes before what an agent said that no longer runs."""
    return f"the agent is not running: this is the last known state, {duration(seen.age)} old"


def ask_agent(runtime: Runtime, request: Mapping[str, object]) -> str:
    """Return the sentence with which the agent answers a request that changes something."""
    sentence = ask(runtime.socket, dict(request)).get("sentence")
    if not isinstance(sentence, str):
        raise ClusterError("that is no answer of an agent", hint="restart clusteros-agent")
    return printable(sentence)


def _seen(status: NodeStatus | None, *, running: bool) -> Seen:
    age = max(0.0, time.monotonic() - status.published) if status else 0.0
    return Seen(status, age, running)
