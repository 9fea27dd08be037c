# SPDX-License-Identifier: Apache-2.0
"""The console on a real terminal: it draws what the agent publishes, and draws again when that changes."""

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.command import main
from agent.status import published
from tests.example_status import make_status

HERE = Path(__file__).resolve().parent.parent
LIMIT = 30.0  # seconds for the screen to show something


class Terminal:
    """`node-agent console` on a pseudo terminal."""

    def __init__(self, run: Path) -> None:
        self.fd, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
        argv = [sys.executable, "-m", "agent", "console", "--run", str(run)]
        self.process = subprocess.Popen(argv, cwd=HERE, stdin=inside, stdout=inside, stderr=subprocess.PIPE)
        os.close(inside)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Return when `text` was drawn after what was waited for last."""
        deadline = time.monotonic() + LIMIT
        while text not in self.shown:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} on the screen in {LIMIT:g} s: {self.shown!r}"
            try:
                self.shown += os.read(self.fd, 65536).decode()
            except OSError as error:
                assert error.errno == errno.EIO
                raise AssertionError(f"the console ended without {text!r}: {self.shown!r}") from None
        self.shown = self.shown.partition(text)[2]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self.fd)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def test_the_console_follows_what_the_agent_publishes(terminal: Terminal, tmp_path: Path) -> None:
    terminal.wait_for("the agent of this node is not running")
    status = tmp_path / "status.json"
    published.write(status, make_status(sentence="forming: 2 of 3", published=time.monotonic()))
    terminal.wait_for("forming: 2 of 3")
    status.write_bytes(b"garbage")
    terminal.wait_for("the agent of this node is not running")
    published.write(status, make_status(sentence="member 3 of 5", published=time.monotonic()))
    terminal.wait_for("member 3 of 5")
    terminal.process.send_signal(signal.SIGTERM)
    # The cursor is back.
    terminal.wait_for("\x1b[?25h")
    assert terminal.process.wait(LIMIT) == 0
    assert terminal.process.stderr is not None
    assert terminal.process.stderr.read() == b""


def test_the_console_is_printed_once_as_plain_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published.write(tmp_path / "status.json", make_status(published=time.monotonic()))
    assert main(["console", "--once", "--run", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "member" in out
    assert "\x1b" not in out


def test_without_a_terminal_the_console_says_what_to_do(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "agent", "console", "--run", str(tmp_path)]
    done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 1
    assert "the status screen needs a terminal" in done.stderr
