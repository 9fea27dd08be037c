# SPDX-License-Identifier: Apache-2.0
"""What PySyncObj's parts look like to each other, as far as ours take their places. Pure."""

from collections.abc import Callable
from typing import Protocol

READ, WRITE, ERROR = 1, 2, 4  # pysyncobj.poller.POLL_EVENT_TYPE
IDLE, DONE, FAILED = 0, 2, 3  # pysyncobj.config.SERIALIZER_STATE


class Poller(Protocol):
    """pysyncobj.poller.Poller."""

    def subscribe(self, descr: int, callback: Callable[[int, int], None], eventMask: int) -> None: ...
    def unsubscribe(self, descr: int) -> None: ...


class Node(Protocol):
    """pysyncobj.node.Node: here the id of a voter is its address, of an observer `observer ADDRESS`."""

    @property
    def id(self) -> str: ...
