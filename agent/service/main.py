# SPDX-License-Identifier: Apache-2.0
"""Start the daemon: configuration, key, credential, control socket, web page, signals, systemd's watchdog."""

import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from agent import files
from agent.cluster import Credential
from agent.config import read_config
from agent.control.runtime import Runtime
from agent.control.server import ControlServer
from agent.errors import ClusterError
from agent.membership import credential as credentials
from agent.service.daemon import Daemon
from agent.service.handover import take_over
from agent.service.notify import Notifier
from agent.service.place import Place
from agent.service.requests import hand_on
from agent.service.serving import WebOnMesh
from agent.status.document import NodeStatus

_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _Format(logging.Formatter):
    """The journal's priority before each line (sd-daemon(3)), where a journal reads."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{record.name}: {super().format(record)}"
        if "JOURNAL_STREAM" not in os.environ:
            return text
        return "\n".join(f"<{_LEVELS.get(record.levelno, 6)}>{line}" for line in text.splitlines())


def run(state: Path, run_folder: Path) -> int:
    """Run the daemon in the foreground until SIGTERM or SIGINT; returns the exit status.

    Raises ClusterError when it cannot start: damaged files, no identity, another agent that runs.
    """
    place = Place(state, run_folder)
    config = read_config(state, os.environ)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Format())
    logging.basicConfig(level=config.log.level.upper(), handlers=[handler], force=True)
    files.make_folder(place.agent, mode=0o700)
    daemon = Daemon(place, config, take_over(run_folder), lambda: read_credential(place))
    server = ControlServer(Runtime(run_folder).socket, lambda request, _uid: hand_on(daemon.inbox, request))
    notifier, web = Notifier(), WebOnMesh(config.metrics.port, lambda: daemon.status)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    signal.signal(signal.SIGHUP, lambda *_: daemon.operator.reload_soon())

    def tell(status: NodeStatus) -> None:
        web.follow(status)
        notifier.tell(status)

    try:
        with contextlib.closing(web):
            daemon.run(tell)
    finally:
        server.close()
    return 0


def read_credential(place: Place) -> Credential | None:
    """Return the join credential: what `node-agent join` was given, or the machine was started with.

    Raises ClusterError when it is damaged.
    """
    for path in (place.credential, place.run / credentials.NAME):
        try:
            return credentials.decode(path.read_bytes(), str(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ClusterError(
                f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint="run as root"
            ) from None
    return None
