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
from agent.errors import ClusterError
from agent.facts import read_facts
from agent.roles.role_file import read_roles
from agent.roles.serving import serve
from agent.roles.supervisor import Supervisor
from agent.tree import Tree
from agent.users.userdb_folder import UserdbFolder

FOLDER = Path("/run/cluster-os-roles")
USER = "clusteros"


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
    supervisor = Supervisor(roles, read_facts(Tree()), FOLDER, UserdbFolder(FOLDER / "homes.conf"))
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
