# SPDX-License-Identifier: Apache-2.0
"""A supervisor of two roles with a recorder in systemd's place."""

import os
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

import pytest

from agent.facts import read_facts
from agent.roles import supervisor as supervisors
from agent.roles.order import DeliveredSecret, Holder, Host, Order, OrderedRole
from agent.roles.plan import Unit
from agent.roles.role import Census, Kind, OnChange, Placement, RenderedFile, Role, SharedSecret
from agent.roles.supervisor import Supervisor
from agent.tree import Tree
from agent.users.userdb_folder import UserdbFolder

ME = Host("3jziSxiYaDg5UQvdWtkXbHKw1pVovCSTdFy4roQm7FQN", "n-3jzisxiyad", "10.86.0.1", "fd00::1", voter=True)
QUEUE, WORKER = "queue.service", "worker.service"


class Recorder:
    """Units that do what they are told at once, unless they `linger`."""

    def __init__(self) -> None:
        self.states = {QUEUE: Unit.INACTIVE, WORKER: Unit.INACTIVE}
        self.calls: list[tuple[str, str]] = []
        self.linger = False
        self.fails: set[str] = set()

    def read_units(self, units: Iterable[str]) -> dict[str, Unit]:
        return {unit: self.states[unit] for unit in units}

    def start(self, unit: str) -> None:
        self.calls.append(("start", unit))
        self.states[unit] = Unit.FAILED if unit in self.fails else Unit.ACTIVE

    def stop(self, unit: str) -> None:
        self.calls.append(("stop", unit))
        self.states[unit] = Unit.STOPPING if self.linger else Unit.INACTIVE

    def kill(self, unit: str) -> None:
        self.calls.append(("kill", unit))
        self.states[unit] = Unit.FAILED

    def restart(self, unit: str) -> None:
        self.calls.append(("restart", unit))

    def reload(self, unit: str) -> None:
        self.calls.append(("reload", unit))


def record(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Put a recorder in systemd's place."""
    recorder = Recorder()
    monkeypatch.setattr(supervisors, "systemd", recorder)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    return recorder


def make(tmp_path: Path, kind: Kind = Kind.LEADER) -> Supervisor:
    (tmp_path / "queue.conf.j2").write_text("at {{ holders['queue'].address }} in {{ epoch }}\n")
    (tmp_path / "names.j2").write_text("{% for m in members %}{{ m.hostname }}\n{% endfor %}")
    files = (
        RenderedFile(str(tmp_path / "out/queue.conf"), "queue.conf.j2", "root", 0o640, OnChange.RESTART),
        RenderedFile(str(tmp_path / "out/names"), "names.j2", "root", 0o644, OnChange.RELOAD),
    )
    key = (SharedSecret("queue/key", 32),)
    placement, census = Placement(), Census(("/bin/echo", '{"jobs": 7}'), 10)
    roles = {
        "queue": Role("queue", tmp_path, kind, "", placement, (), key, files, (QUEUE,), None),
        "worker": Role(
            "worker", tmp_path, Kind.EVERY, "", placement, ("queue",), key, (), (WORKER,), None, census
        ),
    }
    (tmp_path / "etc").mkdir(exist_ok=True)
    userdb = UserdbFolder(tmp_path / "homes.conf", tmp_path / "userdb", tmp_path / "etc")
    return Supervisor(roles, read_facts(Tree()), tmp_path, userdb)


def order(*roles: OrderedRole, held: bool = True, members: int = 1, secret: bytes = b"s" * 32) -> Order:
    holder = Holder("queue", ME.hostname, ME.node_id, "fd00::7", 4)
    return Order(
        cluster="lab",
        ipv4_range="10.86.0.0/16",
        ipv6_range="fd00::/64",
        me=ME,
        members=(ME,) * members,
        holders=(holder,) if held else (),
        roles=roles,
        secrets=(DeliveredSecret("queue/key", 1, b64encode(secret).decode()),) if secret else (),
    )


LEASE = OrderedRole("queue", 4, 100.0)
EVERY = OrderedRole("worker", 0, None)


def settle(supervisor: Supervisor, now: float) -> None:
    for _ in range(4):
        supervisor.tick(now)
