# SPDX-License-Identifier: Apache-2.0
"""Run programs for the builder: logged, without standard input, a failure reported once.

Standard library only: used before anything is installed.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.errors import ClusterError

# What marks the line of a log that says why a program failed; the more telling marks come first.
_COMPLAINTS = (
    re.compile(r"No space left on device"),
    re.compile(
        r"Could not resolve|Temporary failure resolving|Could not connect|Connection refused"
        r"|Connection timed out|Network is unreachable|NewConnectionError|NameResolutionError"
    ),
    re.compile(r"\b404\b|Hash Sum mismatch|unexpected size|NO_PUBKEY|is not signed|DO NOT MATCH THE HASHES"),
    re.compile(
        r"not enough bytes were received|IncompleteRead|Undetermined Error|Connection closed prematurely"
        r"|Error reading from server"
    ),
    re.compile(r"lzma error|zlib error|corrupted filesystem tarfile|cannot access archive"),
    re.compile(r"^(E:|‣ *(ERROR|Error)|ERROR:|error:|mkosi: error|fatal:)"),
    re.compile(r"^‣ [^( ]"),  # mkosi's own last words; its hints stand in parentheses
    re.compile(r"Failed to"),
)
_LONGEST = 300  # characters of a reason
_ENDED_EARLY = "the download ended early: try again, or give another mirror with --mirror URL"
_REMEDIES = (
    *((mark, _ENDED_EARLY) for mark in ("not enough bytes", "IncompleteRead", "Undetermined", "prematurely")),
    ("reading from server", _ENDED_EARLY),
    ("No space left", "make room on the disk and try again"),
    ("404", "the mirror lacks it: try again with --refresh, or give another with --mirror URL"),
    ("esolv", "check the network, or give a mirror that can be reached with --mirror URL"),
    ("onnect", "check the network, or give a mirror that can be reached with --mirror URL"),
    ("etwork", "check the network, or give a mirror that can be reached with --mirror URL"),
    ("ash", "what was downloaded is damaged: try again, or give another mirror with --mirror URL"),
    (
        "unexpected size",
        "what was downloaded is damaged: try again, or give another mirror with --mirror URL",
    ),
)


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
        raise explain_failure(what, lines, log)


def explain_failure(what: str, lines: Sequence[str], log: Path) -> ClusterError:
    """Return the error to tell about a program that failed after printing `lines`."""
    reason = find_reason(lines)
    remedy = next((text for mark, text in _REMEDIES if mark in reason), "")
    return ClusterError(
        f"{what} failed: {reason}", hint=f"{remedy}; the full log is {log}".removeprefix("; ")
    )


def _end_group(process: "subprocess.Popen[str]") -> None:
    """End a program and its children: asked first, so that it can clean up, then forced after 10 s."""
    for number in (signal.SIGTERM, signal.SIGKILL):
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
    for mark in _COMPLAINTS:
        # The last complaint is the one that ended the program; earlier ones it got over.
        for line in reversed(lines):
            if mark.search(line.strip()):
                return re.sub(r"^(E:|‣ *|ERROR:|error:)\s*", "", line.strip())[:_LONGEST]
    return next((line.strip()[:_LONGEST] for line in reversed(lines) if line.strip()), "it said nothing")
