# SPDX-License-Identifier: Apache-2.0
"""Run Python of the tests on a machine of the switch: in a thread that is in its network namespace."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ctypes import CDLL, get_errno
from pathlib import Path
from typing import ParamSpec, TypeVar

from tests.cluster.switch import Switch

P = ParamSpec("P")
T = TypeVar("T")
_CLONE_NEWNET = 0x40000000


class Inside:
    """Machine `number`, plugged in. Threads that a called function starts are in its namespace too."""

    def __init__(self, number: int, switch: Switch) -> None:
        switch.plug(number)
        holder = switch.command(number, [])
        self._namespace = Path(f"/proc/{holder[holder.index('--target') + 1]}/ns/net")
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` on the machine and return what it returns."""
        return self._thread.submit(function, *args, **kwargs).result()

    def end(self) -> None:
        self._thread.shutdown()

    def _enter(self) -> None:
        with self._namespace.open() as namespace:
            # os.setns came with Python 3.12; it holds for the calling thread only.
            if CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(get_errno(), "no right to enter a network namespace: run the tests as root")
