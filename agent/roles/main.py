# SPDX-License-Identifier: Apache-2.0
"""Start the supervisor: roles of the image, the socket that systemd hands over, signals, readiness."""

import logging
import pwd
import signal
import socket
import sys
from pathlib import Path

from systemd import daemon as systemd_daemon

from agent import files
from agent.control.listener import Listener
from agent.control.protocol import printable
from agent.control.stream import read_until, read_user, send
from agent.errors import ClusterError
from agent.facts import read_facts
from agent.roles.order import MAX_ORDER, decode_order, encode_report
from agent.roles.role_file import read_roles
from agent.roles.supervisor import Supervisor
from agent.tree import Tree

FOLDER = Path("/run/cluster-os-roles")
USER = "clusteros"
READ_LIMIT = 5.0
_log = logging.getLogger("roles")


def main() -> int:
    """Run until SIGTERM. Returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    try:
        roles = read_roles()
        files.make_folder(FOLDER / "secrets", mode=0o700)
    except ClusterError as error:
        print(f"error: {error.message}", file=sys.stderr)
        print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    supervisor = Supervisor(roles, read_facts(Tree()), FOLDER)
    handed = systemd_daemon.listen_fds()
    if len(handed) != 1:
        print("error: systemd handed over no socket", file=sys.stderr)
        print("hint: start it by its unit: systemctl start clusteros-roles.socket", file=sys.stderr)
        return 1
    listening = socket.socket(fileno=handed[0])
    allowed = {0, pwd.getpwnam(USER).pw_uid}
    listener = Listener(listening, lambda connection: serve(connection, supervisor, allowed), name="orders")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    systemd_daemon.notify("READY=1")
    try:
        supervisor.run()
    finally:
        listener.close()
    return 0


def serve(connection: socket.socket, supervisor: Supervisor, allowed: set[int]) -> None:
    """Take one order, and answer with a report. Who may order is the kernel's word (SO_PEERCRED)."""
    if read_user(connection) not in allowed:
        return
    line = read_until(connection, b"\n", limit=MAX_ORDER, time_limit=READ_LIMIT)
    if not line:
        return
    try:
        report = supervisor.take(decode_order(line))
    except ClusterError as error:
        _log.warning("refused an order: %s", printable(error.message))
        return
    send(connection, encode_report(report), time_limit=READ_LIMIT)
