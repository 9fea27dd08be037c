# SPDX-License-Identifier: Apache-2.0
"""Attach a terminal to a serial console."""

import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import ClusterError

LEAVE = b"\x1d"
"""Ctrl-], as in telnet and virsh."""


def attach(path: Path) -> None:
    """Connect this terminal with the console behind a unix socket until Ctrl-] or the end of the VM.

    When standard input is no terminal, it is not read, and the console's output is printed as it comes.
    """
    terminal = sys.stdin.isatty()
    with socket.socket(socket.AF_UNIX) as console:
        try:
            console.connect(str(path))
        except OSError as error:
            raise ClusterError(
                f"no console at {path}: {error.strerror}", hint="is the node running?"
            ) from None
        if terminal:
            print("connected to the console; Ctrl-] leaves it", file=sys.stderr, flush=True)
        with _raw(terminal):
            _carry(console, terminal)


def _carry(console: socket.socket, terminal: bool) -> None:
    sources = [console, sys.stdin.fileno()] if terminal else [console]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if console in ready:
            if not (data := console.recv(1 << 16)):
                return
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        if len(ready) > (console in ready):
            keys = os.read(sys.stdin.fileno(), 1 << 12)
            console.sendall(keys.partition(LEAVE)[0])
            if not keys or LEAVE in keys:
                return


@contextmanager
def _raw(terminal: bool) -> Iterator[None]:
    """Hand every key to the guest, Ctrl-C included, and give the terminal back as it was."""
    if not terminal:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        print(file=sys.stderr)
