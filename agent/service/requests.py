# SPDX-License-Identifier: Apache-2.0
"""Requests from the control socket: handed to the loop, which answers now or when something was committed."""

import threading
from typing import Any

from agent.errors import ClusterError
from agent.service.inbox import Inbox

TIME_LIMIT = 20.0
"""Seconds until a request is given up; what it started may still be done."""


class Request:
    """One request, and the place for its answer."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self._done = threading.Event()
        self._answer: dict[str, Any] = {}
        self._error: ClusterError | None = None

    def answer(self, answer: dict[str, Any]) -> None:
        """Answer; only the first answer counts."""
        if not self._done.is_set():
            self._answer = answer
            self._done.set()

    def say(self, sentence: str) -> None:
        """Answer with a sentence."""
        self.answer({"sentence": sentence})

    def refuse(self, error: ClusterError) -> None:
        """Answer with an error."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    def wait(self) -> dict[str, Any]:
        """Return the answer, or raise its error."""
        if not self._done.wait(TIME_LIMIT):
            raise ClusterError(
                "the agent could not do it in time",
                hint="it may still be done; see: node-agent status, and whether there is a leader",
            )
        if self._error is not None:
            raise self._error
        return self._answer


def hand_on(inbox: Inbox, content: dict[str, Any]) -> dict[str, Any]:
    """Give a request to the loop and return its answer; called by threads of the control socket."""
    request = Request(content)
    if not inbox.put(request):
        raise ClusterError("the agent is overloaded", hint="try again")
    return request.wait()
