# SPDX-License-Identifier: Apache-2.0
"""The command `console`: the status screen of tty1. Needs neither network nor privileges.

Reads the published status document, and for what no agent says, what first boot wrote for the login prompt
and the kernel's tables of addresses.
"""

import argparse
import os
import signal
import time
from types import FrameType
from typing import NoReturn

from agent.control.runtime import Runtime
from agent.errors import ClusterError
from agent.state import State
from agent.status import published
from agent.status.addresses import read_addresses
from agent.status.screen import View, paint, render
from agent.tree import Tree

INTERVAL = 1.0  # seconds between two looks
SHARE = 100  # a look may take one part in so many of the time, as large clusters have long documents
REDRAW = 30.0  # seconds after which the screen is drawn anyway, over what the kernel wrote there
_STDOUT = 1
# ECMA-48 and console_codes(4): no cursor, no blanking of the screen, clear; and back.
_BEGIN = "\x1b[?25l\x1b[9;0]\x1b[2J"
_END = "\x1b[0m\x1b[?25h\r\n"


def console(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Show the status screen of the console until it is ended."""
    if options.once:
        width, height = _size()
        lines = render(look(runtime, Tree()), width, height)
        print("\n".join(line.text.rstrip() for line in lines))
        return 0
    if not os.isatty(_STDOUT):
        raise ClusterError("the status screen needs a terminal", hint="add --once to print it as plain text")
    signal.signal(signal.SIGTERM, _end)
    _write(_BEGIN)
    try:
        _show(runtime)
    finally:
        _write(_END)


def look(runtime: Runtime, tree: Tree) -> View:
    """Return what there is to show at this moment."""
    try:
        status = published.read(runtime.status)
    except ClusterError:
        # Of another version, say, while the system is updated: the console has to stay.
        status = None
    issue = tree.text("run/issue.d/10-cluster-os.issue") or ""
    release = tree.text("etc/os-release") or ""
    version = next((line[14:] for line in release.splitlines() if line.startswith("IMAGE_VERSION=")), "")
    return View(
        status=status,
        age=time.monotonic() - status.published if status else 0.0,
        issue=tuple(issue.splitlines()),
        addresses=read_addresses(tree),
        version=version.strip("\"'"),
    )


def _show(runtime: Runtime) -> NoReturn:
    tree, drawn, due = Tree(), "", 0.0
    while True:
        begun = time.monotonic()
        picture = paint(render(look(runtime, tree), *_size()))
        if picture != drawn or begun >= due:
            _write(picture)
            drawn, due = picture, begun + REDRAW
        time.sleep(max(INTERVAL, SHARE * (time.monotonic() - begun)))


def _size() -> tuple[int, int]:
    try:
        size = os.get_terminal_size(_STDOUT)
    except OSError:
        return 80, 25
    # A serial line does not know its size.
    return size.columns or 80, size.lines or 25


def _write(text: str) -> None:
    # Whatever the locale is: the Linux console reads UTF-8.
    data = text.encode()
    while data:
        data = data[os.write(_STDOUT, data) :]


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
