# SPDX-License-Identifier: Apache-2.0
"""Run programs for the builder: logged, without standard input, a failure reported once.

Standard library only: used before anything is installed.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.errors import ClusterError

# What marks the line of a log that says why a program failed.
_COMPLAINTS = ("E:", "Err:", "error:", "ERROR:", "‣ ERROR", "‣ Error", "mkosi: error", "Failed to", "fatal:")


def run_logged(
    argv: Sequence[str | Path],
    *,
    log: Path,
    what: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    each_line: Callable[[str], None] | None = None,
) -> None:
    """Run `argv` with its output appended to `log`; `env` is added to the environment.

    `what` names the work for the error message. `each_line` is called with each line of output. The program
    gets its own process group, which ends with us on an interruption. Raises ClusterError on failure.
    """
    command = [str(part) for part in argv]
    log.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ {shlex.join(command)}\n")
        out.flush()
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ClusterError(
                f"{what}: {command[0]} is not there", hint="install it and try again"
            ) from error
        try:
            assert process.stdout is not None
            for line in process.stdout:
                out.write(line)
                lines.append(line.rstrip())
                if each_line:
                    each_line(line.rstrip())
            status = process.wait()
        except BaseException:
            _end_group(process)
            raise
    if status != 0:
        raise ClusterError(f"{what} failed: {find_reason(lines)}", hint=f"the full log is {log}")


def _end_group(process: "subprocess.Popen[str]") -> None:
    """End a program and its children: asked first, so that it can clean up, then forced after 10 s."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def find_reason(lines: Sequence[str]) -> str:
    """Return the line of a program's output that most likely says why it failed."""
    if any("No space left on device" in line for line in lines):
        return "no space left on the disk"
    for line in lines:
        text = line.strip()
        if any(text.startswith(mark) for mark in _COMPLAINTS):
            return text.removeprefix("E:").removeprefix("‣").strip()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
