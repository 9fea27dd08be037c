# SPDX-License-Identifier: Apache-2.0
"""The real supervisor of roles with a recorder in systemd's place, as a program on a machine of the switch.

A unit runs from its start to its stop, or until a file FOLDER/UNIT.dead is there; with FOLDER/UNIT.slow it
goes on starting. What is done to units is written to FOLDER/events, a line of JSON each: the time
(CLOCK_BOOTTIME), the verb, the unit, and what the recorder's configuration says then.
"""

import json
import logging
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from agent.control.listener import Listener
from agent.facts import read_facts
from agent.roles import supervisor as supervisors
from agent.roles.plan import Unit
from agent.roles.role_file import read_roles
from agent.roles.serving import serve
from agent.roles.supervisor import Supervisor
from agent.tree import Tree
from agent.users.userdb_folder import UserdbFolder


class Recorder:
    """What stands in systemd's place. The states of units outlast the supervisor, as systemd does."""

    def __init__(self, folder: Path, configuration: Path) -> None:
        self._folder = folder
        self._configuration = configuration

    def read_units(self, units: Iterable[str]) -> dict[str, Unit]:
        return {unit: self._state(unit) for unit in units}

    def start(self, unit: str) -> None:
        self._note("start", unit)
        (self._folder / f"{unit}.started").touch()

    def stop(self, unit: str) -> None:
        self._note("stop", unit)
        (self._folder / f"{unit}.started").unlink(missing_ok=True)

    kill = stop

    def restart(self, unit: str) -> None:
        self._note("restart", unit)

    reload = restart

    def _state(self, unit: str) -> Unit:
        if not (self._folder / f"{unit}.started").exists():
            return Unit.INACTIVE
        if (self._folder / f"{unit}.dead").exists():
            return Unit.FAILED
        return Unit.STARTING if (self._folder / f"{unit}.slow").exists() else Unit.ACTIVE

    def _note(self, verb: str, unit: str) -> None:
        at = time.clock_gettime(time.CLOCK_BOOTTIME)
        known = self._configuration
        text = known.read_text() if known.exists() else ""
        with (self._folder / "events").open("a") as events:
            events.write(json.dumps({"at": at, "verb": verb, "unit": unit, "configuration": text}) + "\n")


def main(roles: Path, folder: Path, configuration: Path, path: Path) -> None:
    """Run until it is killed."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    vars(supervisors)["systemd"] = Recorder(folder, configuration)
    userdb = UserdbFolder(folder / "homes.conf", folder / "userdb")
    supervisor = Supervisor(read_roles(roles), read_facts(Tree()), folder, userdb)
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen()
    Listener(listening, lambda connection: serve(connection, supervisor, {0}), name="orders")
    supervisor.run()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
