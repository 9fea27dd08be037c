# SPDX-License-Identifier: Apache-2.0
"""What PySyncObj's parts look like to each other, as far as ours take their places. Pure."""

from collections.abc import Callable
from typing import Any, Protocol

READ, WRITE, ERROR = 1, 2, 4  # pysyncobj.poller.POLL_EVENT_TYPE
# pysyncobj.config.FAIL_REASON; and those by which a command is not in the log, nor will be.
SUCCESS, QUEUE_FULL, MISSING_LEADER, DISCARDED, NOT_LEADER, DENIED = 0, 1, 2, 3, 4, 6
NEVER_COMMITTED = frozenset({QUEUE_FULL, MISSING_LEADER, DISCARDED, NOT_LEADER, DENIED})
ROLES = ("follower", "candidate", "leader")  # by pysyncobj.syncobj._RAFT_STATE
Answer = Callable[[Any, int], None]
"""Gets what the state machine said, and one of the reasons above."""
IDLE, DONE, FAILED = 0, 2, 3  # pysyncobj.config.SERIALIZER_STATE


class Poller(Protocol):
    """pysyncobj.poller.Poller."""

    def subscribe(self, descr: int, callback: Callable[[int, int], None], eventMask: int) -> None: ...
    def unsubscribe(self, descr: int) -> None: ...


class Node(Protocol):
    """pysyncobj.node.Node: here the id of a voter is its address, of an observer `observer ADDRESS`."""

    @property
    def id(self) -> str: ...
