# SPDX-License-Identifier: Apache-2.0
"""Read a console log for what no healthy machine ever says: pure functions over its text.

What to look for follows kola's console checks (coreos-assembler) and systemd's own messages.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

# The order matters: a line is counted once, as the first kind that matches.
_PATTERNS: dict[str, str] = {
    "panic": r"Kernel panic - not syncing|Freezing execution|Caught <\w+>",
    "oops": r"\bOops: |BUG: unable to handle|kernel BUG at|general protection fault|Unable to handle kernel",
    "lockup": r"(soft|hard) lockup|blocked for more than \d+ seconds",
    "bug": r"\bBUG: ",
    "emergency shell": (
        r"You are in (emergency|rescue) mode|Entering emergency mode"
        r"|Reached target (emergency|rescue)\.target"
        r"|Starting (emergency|rescue)\.service|Give root password for maintenance"
        r"|Press Enter for maintenance"
        r"|Cannot open access to console, the root account is locked"
    ),
    "ordering cycle": r"ordering cycle",
    "out of memory": (
        r"Out of memory: |oom-kill:|invoked oom-killer|A process of this unit has been killed by the OOM"
    ),
    "segfault": r"segfault at|code=dumped|\btraps: .* (trap|general protection)",
    "dm-verity": r"device-mapper: verity: .*(corrupted|errors?\b)|Root hash signature verification failed",
    "failed unit": r"\[ *(FAILED|DEPEND) *\]|Failed with result '|Timed out waiting for device",
}
_KINDS = {kind: re.compile(pattern) for kind, pattern in _PATTERNS.items()}
KINDS = frozenset(_KINDS)
"""All kinds of finding, for lists of what a test expects."""
FATAL = frozenset({"panic", "emergency shell"})
"""Kinds after which a machine does not become ready any more."""

# Colours, cursor movements and titles that systemd and the firmware write, and what a terminal would not
# show.
_ESCAPES = re.compile(
    r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_=>78])|[\x00-\x08\x0b-\x1a\x7f]"
)


@dataclass(frozen=True)
class Finding:
    """A line of the console that should not be there."""

    kind: str
    line: str
    number: int
    """Line number in the text, from 1."""

    def __str__(self) -> str:
        return f"line {self.number}: {self.kind}: {self.line}"


def scan(text: str, *, expected: Collection[str] = ()) -> list[Finding]:
    """Return what is wrong on a console, in order; kinds in `expected` are what the test provokes.

    Raises ValueError on an unknown kind in `expected`, so that a list cannot silently mean nothing.
    """
    if unknown := set(expected) - KINDS:
        raise ValueError(f"unknown kinds of finding: {sorted(unknown)}; there are {sorted(KINDS)}")
    findings = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = plain(raw).strip()
        kind = next((kind for kind, pattern in _KINDS.items() if pattern.search(line)), None)
        if kind and kind not in expected:
            findings.append(Finding(kind, line, number))
    return findings


def first_fatal(text: str) -> Finding | None:
    """Return the first finding after which waiting is in vain, None while there is hope."""
    return next((finding for finding in scan(text) if finding.kind in FATAL), None)


def plain(text: str) -> str:
    """Return console text without escape sequences and control characters other than tab and line feed."""
    return _ESCAPES.sub("", text)
