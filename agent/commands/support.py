# SPDX-License-Identifier: Apache-2.0
"""The command `support`: one archive with what it takes to see what is wrong, and without secrets.

A part that cannot be had is replaced by the reason: a node that needs help is a node where things fail.
"""

import argparse
import io
import json
import tarfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from agent import files
from agent.commands.output import print_json
from agent.commands.redaction import redact, redact_values
from agent.commands.support_parts import OWN, find_secrets, list_parts
from agent.control.client import ask
from agent.control.runtime import Runtime
from agent.errors import ClusterError
from agent.state import State

MAX_PART = 16 << 20  # bytes; of what is longer the end is kept
CONTENTS = "contents.txt"

Parts = Mapping[str, Callable[[], bytes]]


def support(options: argparse.Namespace, state: State, runtime: Runtime) -> int:
    """Write an archive with logs and state, without secrets, for who helps you."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    name = f"cluster-os-support-{Path('/proc/sys/kernel/hostname').read_text().strip()}-{stamp}"
    path = Path(options.output or f"{name}.tar.gz")
    content = gather({**list_parts(state, runtime), **_agent_parts(runtime)}, find_secrets(state, runtime))
    files.create(path, pack(content, name, now), mode=0o600)
    if options.json:
        print_json({"file": str(path), "contents": {part: len(data) for part, data in content.items()}})
    else:
        print(content[CONTENTS].decode(), end="")
        print(f"\nwritten to {path}; look through it before you give it to others")
    return 0


def gather(parts: Parts, secrets: tuple[bytes, ...]) -> dict[str, bytes]:
    """Return the content of every part, cleaned and bounded, and after them a list of them."""
    content, lines = {}, []
    for name, read in parts.items():
        try:
            data = read()
            note = f"{len(data)} bytes" + (f", of which the last {MAX_PART}" if len(data) > MAX_PART else "")
        except ClusterError as error:
            data, note = f"error: {error.message}\nhint: {error.hint}\n".encode(), "not there: see inside"
        # What we wrote ourselves is data with words in it that the search for names would hit.
        clean = redact_values if name in OWN else redact
        content[name] = clean(data, secrets)[-MAX_PART:]
        lines.append(f"{name:<24}{note}")
    content[CONTENTS] = ("\n".join(lines) + "\n").encode()
    return content


def pack(content: Mapping[str, bytes], folder: str, now: float) -> bytes:
    """Return a tar.gz with these files in `folder`; `now` in Unix seconds."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode, member.mtime = len(data), 0o600, int(now)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _agent_parts(runtime: Runtime) -> Parts:
    """Return what the agent adds: what it alone can read, already without secrets."""
    try:
        told = ask(runtime.socket, {"request": "support"}, time_limit=20.0).get("files")
    except ClusterError as error:
        return {"agent.txt": partial(_fail, error)}
    if not isinstance(told, dict):
        return {"agent.txt": partial(_fail, ClusterError("that is no answer of an agent"))}
    return {f"agent/{_file_name(name)}": partial(_encode, text) for name, text in told.items()}


def _file_name(name: str) -> str:
    safe = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in name
    )
    return safe[:60].lstrip(".") or "_"


def _encode(text: object) -> bytes:
    return (text if isinstance(text, str) else json.dumps(text)).encode(errors="replace")


def _fail(error: ClusterError) -> bytes:
    raise error
