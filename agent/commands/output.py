# SPDX-License-Identifier: Apache-2.0
"""What commands print, read and ask."""

import json
import sys
from pathlib import Path

from agent.errors import ClusterError


def print_json(content: object) -> None:
    """Print `content` as JSON for people and programs."""
    print(json.dumps(content, indent=2))


def read_input(name: str, limit: int, hint: str) -> bytes:
    """Return the content of a file, of standard input for `-`; ClusterError beyond `limit` bytes."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise ClusterError(
            f"cannot read {name}: {(error.strerror or str(error)).lower()}", hint="check the name of the file"
        ) from None
    if len(data) > limit:
        shown = "standard input" if name == "-" else name
        raise ClusterError(f"{shown} is longer than {limit} bytes", hint=hint)
    return data


def confirm(question: str, *, yes: bool) -> None:
    """Raise ClusterError unless a person at a terminal types `yes`, or `yes` is true."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ClusterError(f"{question}: this needs a confirmation", hint="add --yes")
    print(f"{question}. Type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "yes":
        raise ClusterError("nothing was changed")
