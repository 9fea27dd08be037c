# SPDX-License-Identifier: Apache-2.0
"""The two programs: `clusteros-copies keep` on each member, `clusteros-copies follow` beside the role itself.

Both get the role's secret as the systemd credential `key`, and what there is to know from a file of the role,
which is read again at SIGHUP (`follow`).
"""

import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from systemd import daemon as systemd_daemon

from agent.control.listener import Listener
from agent.copies import proof
from agent.copies.follow import Follower
from agent.copies.followed import Followed
from agent.copies.keeper import Keeper
from agent.copies.store import Store
from agent.copies.version import Number
from agent.errors import ClusterError
from agent.roles.order import Ipv4
from agent.status import schema
from agent.status.schema import Range, Text

HINT = "it is written by the supervisor of roles: see systemctl status clusteros-roles"
Port = Annotated[int, Range(1, 65535)]


@dataclass(frozen=True)
class Following:
    """What `follow` has to know."""

    epoch: Number
    folder: Annotated[str, Text(r"/var/lib(/[A-Za-z0-9][A-Za-z0-9._-]*)+")]
    ignored: tuple[Annotated[str, Text(r"[A-Za-z0-9._*?-]{1,64}")], ...]
    port: Port
    hosts: tuple[Ipv4, ...]  # of the voters


@dataclass(frozen=True)
class Keeping:
    """What `keep` has to know."""

    host: Ipv4  # of this machine
    port: Port
    folder: Annotated[str, Text(r"/var/lib(/[A-Za-z0-9][A-Za-z0-9._-]*)+")]


def main(arguments: list[str]) -> int:
    """Run `keep FILE` or `follow FILE` until SIGTERM. Returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    programs: dict[str, Callable[[Path, bytes], None]] = {"keep": keep, "follow": follow}
    try:
        if len(arguments) != 2 or arguments[0] not in programs:
            raise ClusterError("usage: clusteros-copies keep|follow FILE", hint="it is started by its unit")
        programs[arguments[0]](Path(arguments[1]), _read_secret())
    except ClusterError as error:
        print(f"error: {error.message}", file=sys.stderr)
        print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def keep(path: Path, secret: bytes) -> None:
    """Keep a copy for the holder of the role."""
    settings = schema.decode(Keeping, _read(path), str(path))
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
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    listener = Listener(listening, Keeper(Store(Path(settings.folder)), secret).serve, name="copies")
    systemd_daemon.notify("READY=1")
    signal.sigwait((signal.SIGTERM, signal.SIGINT))
    listener.close()


def follow(path: Path, secret: bytes) -> None:
    """Bring the newest state here, say that it is there, and copy what changes to the voters."""
    read = schema.decode(Following, _read(path), str(path))
    followed = Followed(Path(read.folder), read.ignored, read.epoch, read.port, secret)
    follower = Follower(followed, systemd_daemon.notify)
    follower.set_hosts(read.hosts)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: follower.stop())

    def reread(*_: object) -> None:
        follower.set_hosts(schema.decode(Following, _read(path), str(path)).hosts)

    signal.signal(signal.SIGHUP, reread)
    follower.run()


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
