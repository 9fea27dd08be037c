# SPDX-License-Identifier: Apache-2.0
"""`clusteros-copies FILE`: keep a copy of a role's state for its holder, and follow it when it is here.

One process for both, which runs as the user of the role: a new holder must not wait for a program to start.
`FILE` says what there is to know; the systemd credential `key` is the role's secret. What clusteros-follow
asks for, and is answered, are files in $RUNTIME_DIRECTORY: `wanted` has the epoch under which the role is to
start here, `ready` the epoch under which its state is here.
"""

import json
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from systemd import daemon as systemd_daemon

from agent.control.listener import Listener
from agent.copies import proof
from agent.copies.duty import Duty
from agent.copies.followed import Followed
from agent.copies.keeper import Keeper
from agent.copies.saves import Saves
from agent.copies.settling import Settling, listen
from agent.copies.store import Store
from agent.errors import ClusterError
from agent.status import schema
from agent.status.schema import Range, Text

SETTLING = 64
"""Calls of `settle` at a time: one for each job that begins, say."""
HINT = "it is written by the supervisor of roles: see systemctl status clusteros-roles"
Folder = Annotated[str, Text(r"/var/lib(/[A-Za-z0-9][A-Za-z0-9._-]*)+")]
Ipv4 = Annotated[str, Text(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")]


@dataclass(frozen=True)
class Settings:
    """What there is to know."""

    host: Ipv4  # of this machine, on the mesh
    port: Annotated[int, Range(1, 65535)]  # the same on each
    copy: Folder
    state: Folder
    ignored: tuple[Annotated[str, Text(r"[A-Za-z0-9._*?-]{1,64}")], ...]  # patterns of file names
    voters: tuple[Ipv4, ...]
    saves: Saves | None


def main(arguments: list[str]) -> int:
    """Run until SIGTERM. Returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        if len(arguments) != 1:
            raise ClusterError("usage: clusteros-copies FILE", hint="it is started by its unit")
        path = Path(arguments[0])
        _run(schema.decode(Settings, _read(path), str(path)), _read_secret())
    except ClusterError as error:
        print(f"error: {error.message}", file=sys.stderr)
        print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def _run(settings: Settings, secret: bytes) -> None:
    listener = Listener(_listen(settings), Keeper(Store(Path(settings.copy)), secret).serve, name="copies")
    followed = Followed(Path(settings.state), settings.ignored, 0, settings.port, secret, settings.saves)
    folder = Path(os.environ["RUNTIME_DIRECTORY"])
    duty = Duty(folder, followed, settings.voters)
    settling = Listener(
        listen(folder / "settle"), Settling(duty.settle).serve, name="settle", connections=SETTLING
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: duty.stop())
    systemd_daemon.notify("READY=1")
    try:
        duty.run()
    finally:
        settling.close()
        listener.close()


def _listen(settings: Settings) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(32)
    except OSError as error:
        listening.close()
        raise ClusterError(
            f"cannot listen at {settings.host} port {settings.port}: {error.strerror or error}",
            hint="see that the mesh is up and the port is free: ip addr; ss -tlnp",
        ) from None
    return listening


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ClusterError(f"cannot read {path}: {error}", hint=HINT) from None


def _read_secret() -> bytes:
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/"), "key")
    try:
        secret = path.read_bytes()
    except OSError:
        secret = b""
    if len(secret) < proof.MIN_SECRET:
        raise ClusterError("the credential `key`, a secret of the role, is missing", hint="see its unit")
    return secret
