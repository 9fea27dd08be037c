# SPDX-License-Identifier: Apache-2.0
"""What goes into the archive of `support`, and the secrets that must not. Reads only."""

import json
import os
import sys
from binascii import a2b_base64
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from agent import keystore
from agent.commands import configuration
from agent.control.runtime import Runtime
from agent.errors import ClusterError
from agent.report import read_info
from agent.run import run
from agent.state import State
from agent.status import published
from agent.tree import Tree

OWN = ("status.json", "info.json", "configuration.json")  # parts that are our own documents
TIME_LIMIT = 20.0  # seconds for a program
_SECRET_NAMES = ("key", "secret", "seed", "password", "nonce", "signature")
_JOURNAL = ("journalctl", "--no-pager", "--output=short-iso-precise", "--boot")
_PROGRAMS = {
    "journal.txt": (*_JOURNAL, "--lines=50000"),
    "journal-agent.txt": (
        "journalctl",
        "--no-pager",
        "--output=short-iso-precise",
        "--lines=20000",
        "--unit=clusteros*",
    ),
    "journal-kernel.txt": (*_JOURNAL, "--dmesg", "--lines=5000"),
    "units.txt": ("systemctl", "list-units", "--all", "--no-pager", "--full", "--plain"),
    "units-cluster.txt": ("systemctl", "show", "--no-pager", "clusteros*"),
    "addresses.txt": ("ip", "-details", "-statistics", "address"),
    "routes.txt": ("ip", "route", "show", "table", "all"),
    "sockets.txt": ("ss", "-tulpn"),
    # `wg show` hides private keys; `wg showconf` and `wg show dump` do not.
    "wireguard.txt": ("wg", "show", "all"),
    "firewall.txt": ("nft", "list", "ruleset"),
    "names.txt": ("resolvectl", "--no-pager", "status"),
    "clock.txt": ("chronyc", "-n", "tracking"),
    "disks.txt": ("df", "-h"),
    "memory.txt": ("free", "-m"),
    # Without arguments, which other people's programs may put secrets into.
    "processes.txt": ("ps", "-eo", "pid,ppid,user,etimes,rss,pcpu,stat,comm"),
    "serf-version.txt": ("serf", "version"),
}


def list_parts(state: State, runtime: Runtime) -> dict[str, Callable[[], bytes]]:
    """Return what to read for each file of the archive; each raises ClusterError where it cannot be had."""
    return {
        "status.json": partial(_status, runtime),
        "info.json": partial(_info, state),
        "configuration.json": partial(_configuration, state),
        "versions.txt": _versions,
        **{
            name: partial(run, argv, time_limit=TIME_LIMIT, hint="run as root, on a node")
            for name, argv in _PROGRAMS.items()
        },
    }


def find_secrets(state: State, runtime: Runtime) -> tuple[bytes, ...]:
    """Return the secrets of this node that this user can read: to be searched for, not to be shown."""
    found: list[bytes] = []
    try:
        stored = keystore.load(state.identity)
        found += [stored.secret] if stored else []
    except ClusterError:
        pass  # damaged, or not ours to read
    # Serf's configuration, the key that the agent was handed, and the join credential wherever it came from.
    paths = [
        *(runtime.folder / name for name in ("serf.json", "self.json")),
        *state.folder.glob("*.json"),
        *state.folder.glob("agent/*.json"),
        *Path("/run/credentials").glob("*/cluster-os.*"),
    ]
    for path in paths:
        try:
            found += _texts(json.loads(path.read_bytes()))
        except (OSError, ValueError, RecursionError):
            continue
    return tuple(found)


def _texts(content: object, name: str = "") -> list[bytes]:
    """Return the values behind names that say key or secret, as they stand and decoded."""
    if isinstance(content, dict):
        return [text for key, item in content.items() for text in _texts(item, str(key))]
    if isinstance(content, list):
        return [text for item in content for text in _texts(item, name)]
    if not isinstance(content, str) or not any(word in name.lower() for word in _SECRET_NAMES):
        return []
    found = [content.encode(errors="replace")]
    for read in (partial(a2b_base64, strict_mode=True), bytes.fromhex):
        with suppress(ValueError):
            found.append(read(content))
    return found


def _status(runtime: Runtime) -> bytes:
    status = published.read(runtime.status)
    if status is None:
        raise ClusterError("the agent has published nothing since this machine started")
    return _json(status.to_dict())


def _info(state: State) -> bytes:
    return _json(read_info(state, Tree())[0])


def _configuration(state: State) -> bytes:
    values, origins = configuration.read(state, os.environ)
    return _json({"values": values, "from": origins})


def _versions() -> bytes:
    kernel = " ".join(os.uname())
    release = Tree().text("etc/os-release") or ""
    command_line = Tree().text("proc/cmdline") or ""
    return f"{kernel}\nPython {sys.version}\n\n{release}\n\n{command_line}\n".encode()


def _json(content: Any) -> bytes:  # noqa: ANN401
    return json.dumps(content, indent=1).encode() + b"\n"
