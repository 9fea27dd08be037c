# SPDX-License-Identifier: Apache-2.0
"""Machines with roles: a supervisor beside each agent, and what the recorder there wrote."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from agent import files
from agent.identity import identity_of_node_id
from agent.roles.role_file import VARIABLE
from tests.cluster.machines import PROJECT, Machine

ROLE = """\
version: 1
kind: servers
description: a service that keeps replicated data
count: 3
replace_after: {replace_after}
secrets: [{{name: db/token, bytes: 16, form: hex, renewed: false}}]
files: [{{path: {path}, template: db.conf.j2, on_change: nothing}}]
units: [db.service]
on_removed: [/usr/bin/sh, -c, 'echo {{hostname}} >>{gone}']
"""
TEMPLATE = """\
begin {{ not servers["db"].begun and servers["db"].first == me.node_id }}
generation {{ servers["db"].generation }}
token {{ secret("db/token") }}
{% for server in servers["db"].nodes %}
server {{ server.hostname }} {{ server.ipv4 }}
{% endfor %}
join {{ servers["db"].address }}
"""
CLIENT = """\
version: 1
kind: every
description: what runs where the service does not
needs: [db]
unless: [db]
units: [client.service]
drain: {{command: [/usr/bin/sh, -c, 'while [ -e {busy} ]; do sleep 0.1; done'], limit: 60}}
"""


class Event(NamedTuple):
    """Something that was done to a unit on a machine."""

    machine: str
    at: float
    verb: str
    unit: str
    configuration: str

    @property
    def begins(self) -> bool:
        """Whether the service was started to begin its data."""
        return self.verb == "start" and "begin True" in self.configuration


class Roles:
    """The roles of one machine."""

    def __init__(self, machine: Machine, replace_after: int) -> None:
        self.machine = machine
        self.folder = machine.run.with_name(f"{machine.run.name}-roles")
        files.make_folder(self.folder / "secrets", mode=0o700)
        # A role writes below /run; this is one machine's part of it.
        self.rendered = Path(f"/run/cluster-os-test-{os.getpid()}-{machine.mesh}")
        self.gone = self.folder / "gone"
        roles = machine.folder / "roles"
        text = ROLE.format(path=self.rendered / "db.conf", replace_after=replace_after, gone=self.gone)
        client = CLIENT.format(busy=self.folder / "busy")
        contents = {"db/role.yaml": text, "db/db.conf.j2": TEMPLATE, "client/role.yaml": client}
        for name, content in contents.items():
            (roles / name).parent.mkdir(parents=True, exist_ok=True)
            (roles / name).write_text(content)
        machine.variables[VARIABLE] = str(roles)
        self._roles = roles

    def start(self) -> None:
        """Start the supervisor."""
        program = ["python3", "-S", str(PROJECT / "tests/cluster/role_node.py")]
        arguments = (self._roles, self.folder, self.rendered / "db.conf", self.folder / "supervisor.sock")
        self.machine._spawn("roles", [*program, *map(str, arguments)])

    def events(self) -> list[Event]:
        """What was done to units here so far."""
        path = self.folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Event(self.machine.name, **json.loads(line)) for line in lines]

    def mark(self, unit: str, how: str, *, there: bool) -> None:
        """Have a unit here be `dead` or `slow`, or not any more."""
        path = self.folder / f"{unit}.{how}"
        if there:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    def state(self, role: str) -> tuple[str, str]:
        """State and reason of a role, as the agent here tells."""
        found = {each["name"]: each for each in self.machine.status().get("roles", [])}
        return (found[role]["state"], found[role]["reason"]) if role in found else ("", "")

    def cut_power(self) -> None:
        """Switch the machine off, with all that ran on it."""
        self.machine.cut_power()
        for path in self.folder.glob("*.started"):
            path.unlink()

    @property
    def hostname(self) -> str:
        """The machine's host name."""
        return identity_of_node_id(self.machine.node_id).hostname

    def end(self) -> None:
        """Remove what lies outside the machine's folder."""
        shutil.rmtree(self.rendered, ignore_errors=True)


def all_events(roles: Iterable[Roles]) -> list[Event]:
    """What was done on all machines, in order: they share a clock."""
    return sorted((event for each in roles for event in each.events()), key=lambda event: event.at)
