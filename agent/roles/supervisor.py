# SPDX-License-Identifier: Apache-2.0
"""The supervisor of roles: renders files, starts and stops units, ends what a lease no longer allows.

Runs as root, apart from the agent (clusteros-roles.service). It does as the last order says (order.py), and
by itself what time asks for: an agent that is stopped, hung or gone keeps no lease alive. Units of roles with
a lease are bound to it, so that without it none runs.

Owns the units of roles; their files are those of role_files.py, and users are those of agent/users/.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from agent.boottime import read_clock
from agent.errors import ClusterError
from agent.model import Facts
from agent.roles import memory, systemd
from agent.roles.check import Check
from agent.roles.counting import Counting
from agent.roles.draining import Draining
from agent.roles.letting_go import LettingGo
from agent.roles.order import Order, OrderedRole, Report, RoleState, without_times
from agent.roles.plan import (
    Gone,
    Kill,
    Rest,
    Running,
    Start,
    Step,
    Stop,
    Unit,
    Wait,
    Wanted,
    decide,
    note_failure,
)
from agent.roles.role import Kind, OnChange, Role, Roles
from agent.roles.role_files import RoleFiles
from agent.roles.users import UserRecords
from agent.users.userdb_folder import UserdbFolder

SOON = 1.0
"""Seconds until what failed is looked at again."""
CALM, QUICK, SLOW = 5.0, 0.2, 2.0
"""Seconds between two looks: while all is as it should be; while something is under way, first and last."""
_log = logging.getLogger("roles")


class Supervisor:
    """`take` gets orders, in any thread; `run` works until `stop`. Without `userdb` it leaves users alone."""

    def __init__(self, roles: Roles, facts: Facts, folder: Path, userdb: UserdbFolder | None = None) -> None:
        self._roles = roles
        self._folder = folder
        self._order: Order | None = None
        self._running = memory.load(folder)
        self._remembered = dict(self._running)
        self._tried: dict[str, set[str]] = {}  # units by role that were started since the last failure
        self._checks: dict[str, Check] = {}
        self._countings: dict[str, Counting] = {}
        self._letting_go = LettingGo()
        self._draining = Draining()
        self._files = RoleFiles(folder / "secrets", facts)
        self._users = UserRecords(userdb, systemd.restart) if userdb is not None else None
        self._states: dict[str, RoleState] = {}
        self._quick = QUICK
        self._woken = threading.Event()
        self._stopped = False

    def take(self, order: Order) -> Report:
        """Do as `order` says from now on; return how things were at the last look."""
        known, self._order = self._order, order
        # That a lease goes on is nothing to be done; it is looked at anyhow before the end that is known.
        if known is None or without_times(order) != without_times(known):
            self._woken.set()
        # A copy: the loop may forget a role meanwhile.
        states = self._states.copy()
        return Report(tuple(states[name] for name in sorted(states)), self._letting_go.done(order.gone))

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler."""
        self._stopped = True
        self._woken.set()

    def run(self) -> None:
        """Work until stopped. Units stay as they are: systemd ends those that are bound to this service."""
        while not self._stopped:
            try:
                pause = self.tick(read_clock())
            except ClusterError as error:
                _log.warning("%s", error.message)
                pause = SOON
            self._woken.wait(pause)
            self._woken.clear()

    def tick(self, now: float) -> float:
        """Take the next step of every role; return the seconds until the next look."""
        order = self._order
        if order is not None and self._users is not None:
            self._users.keep(order.users)
        given = order.roles if order is not None and order.me is not None else ()
        ordered = self._as_remembered() if order is None else {each.name: each for each in given}
        seen = systemd.read_units(unit for role in self._roles.values() for unit in role.units)
        before, pause = self._states.copy(), CALM
        for name, role in self._roles.items():
            try:
                pause = min(pause, self._tend(role, ordered.get(name), order, seen, now))
            except ClusterError as error:
                pause = min(pause, SOON)
                self._fail(name, error.message, now)
        if self._remembered != self._running:
            memory.save(self._folder, self._running)
            self._remembered = dict(self._running)
        # A look costs a process: a unit that takes its time is looked at less and less often.
        self._quick = QUICK if self._states != before else min(SLOW, self._quick * 1.5)
        return pause

    def _as_remembered(self) -> dict[str, OrderedRole]:
        """Return what runs as if it had been ordered: the agent has not spoken since this was started."""
        return {name: OrderedRole(name, each.epoch, each.until) for name, each in self._running.items()}

    def _tend(
        self,
        role: Role,
        ordered: OrderedRole | None,
        order: Order | None,
        seen: Mapping[str, Unit],
        now: float,
    ) -> float:
        wanted, running = self._wanted(role, ordered, order), self._running.get(role.name)
        if running is not None and wanted is not None and running.epoch == wanted.epoch:
            running = self._running[role.name] = replace(running, until=wanted.until)
        # Who was removed from the cluster cannot give up anything in it any more.
        if order is not None and order.me is not None and self._drains(role, ordered, running, now):
            return SLOW
        step = decide(role.units, seen, wanted, running, now)
        self._tell(role.name, ordered, step)
        if isinstance(step, Rest):
            self._keep(role, order, now)
            return CALM if wanted is None or wanted.until is None else min(CALM, max(0.0, wanted.until - now))
        self._take_step(role, step, wanted, order, now)
        return CALM if isinstance(step, Gone) else self._quick

    def _drains(self, role: Role, ordered: OrderedRole | None, running: Running | None, now: float) -> bool:
        """Have a role that is not this node's any more give up its work; tell whether it is at it."""
        if role.drain is None or running is None:
            return False
        if ordered is not None:
            if self._draining.forget(role.name):
                # It gave up some, or all: its units begin anew.
                for unit in role.units:
                    systemd.restart(unit)
            return False
        if self._draining.look(role.name, role.drain, now):
            return False
        self._states[role.name] = RoleState(role.name, running.epoch, "stopping", "gives up its work")
        return True

    def _wanted(self, role: Role, ordered: OrderedRole | None, order: Order | None) -> Wanted | None:
        if ordered is None or (role.kind is Kind.LEADER and ordered.until is None):
            return None
        held = {holder.role for holder in order.holders} if order is not None else set()
        given = {secret.name for secret in order.secrets} if order is not None else set()
        groups = {group.role: group for group in order.servers} if order is not None else {}
        missing = [
            f"{name} has not begun" if name in groups else f"{name} has no holder"
            for name in role.needs
            if (not groups[name].begun if name in groups else name not in held)
        ]
        group = groups.get(role.name)
        if order is not None and order.me is not None and group is not None and not group.begun:
            missing += ["another member begins it"] if group.first != order.me.node_id else []
        missing += [
            f"the secret {each.name} is not there yet" for each in role.secrets if each.name not in given
        ]
        return Wanted(ordered.epoch, ordered.until, ", ".join(missing))

    def _take_step(
        self, role: Role, step: Step, wanted: Wanted | None, order: Order | None, now: float
    ) -> None:
        name = role.name
        if isinstance(step, Start):
            assert wanted is not None
            self._start(role, step, wanted, order, now)
        elif isinstance(step, Stop):
            _log.info("%s: stops %s", name, step.unit)
            systemd.stop(step.unit)
        elif isinstance(step, Kill):
            _log.warning("%s: kills %s, as its time is over", name, step.unit)
            systemd.kill(step.unit)
        elif isinstance(step, Gone):
            self._clear(role)

    def _start(self, role: Role, step: Start, wanted: Wanted, order: Order | None, now: float) -> None:
        name = role.name
        known = self._running.get(name, Running(wanted.epoch, wanted.until))
        tried = self._tried.setdefault(name, set())
        if step.unit in tried:
            # It was started, and does not run, or not any more.
            tried.clear()
            self._running[name] = note_failure(known, now)
            _log.warning("%s: %s does not run", name, step.unit)
            return
        if step.first:
            if order is None:
                return
            self._files.write(role, order, wanted.epoch)
            self._running[name] = replace(known, epoch=wanted.epoch, until=wanted.until, since=0.0)
            # Before anything runs: what is started anew must know of it.
            memory.save(self._folder, self._running)
        tried.add(step.unit)
        _log.info("%s: starts %s%s", name, step.unit, f" in epoch {wanted.epoch}" if wanted.epoch else "")
        systemd.start(step.unit)

    def _keep(self, role: Role, order: Order | None, now: float) -> None:
        """See to a role that runs: its files, its health."""
        running = self._running.get(role.name)
        if running is not None and not running.since:
            self._running[role.name] = replace(running, since=now)
            _log.info("%s: runs", role.name)
        if order is not None:
            self._refresh(role, order, running.epoch if running else 0)
            if role.on_removed:
                self._letting_go.look(role, order.gone, now)
        if role.health is not None:
            check = self._checks.setdefault(role.name, Check(role.health))
            if not check.look(now):
                _log.warning("%s: its health command failed %d times", role.name, role.health.failures)
                for unit in role.units:
                    systemd.restart(unit)
        if role.status is not None:
            self._countings.setdefault(role.name, Counting(role.name, role.status)).look(now)

    def _refresh(self, role: Role, order: Order, epoch: int) -> None:
        known = role.name in self._files
        changed = self._files.write(role, order, epoch)
        if not known or not changed:
            return
        kinds = {file.on_change for file in role.files if file.path in changed}
        secrets = {path for path in changed if path not in {file.path for file in role.files}}
        if OnChange.RESTART in kinds or secrets:
            _log.info("%s: starts its units again, as %s changed", role.name, ", ".join(sorted(changed)))
            for unit in role.units:
                systemd.restart(unit)
        elif OnChange.RELOAD in kinds:
            for unit in role.units:
                systemd.reload(unit)

    def _clear(self, role: Role) -> None:
        """Forget a role that is not here any more, and take its secrets away."""
        self._running.pop(role.name, None)
        self._tried.pop(role.name, None)
        check = self._checks.pop(role.name, None)
        if check is not None:
            check.end()
        counting = self._countings.pop(role.name, None)
        if counting is not None:
            counting.end()
        self._draining.forget(role.name)
        self._files.forget(role, self._roles)

    def _fail(self, name: str, reason: str, now: float) -> None:
        known = self._running.get(name)
        epoch = known.epoch if known else 0
        if self._states.get(name) != (state := RoleState(name, epoch, "failed", reason)):
            _log.warning("%s: %s", name, reason)
        self._states[name] = state
        if known is not None:
            self._running[name] = note_failure(known, now)

    def _tell(self, name: str, ordered: OrderedRole | None, step: Step) -> None:
        epoch = ordered.epoch if ordered is not None else 0
        if isinstance(step, Gone):
            self._states.pop(name, None)
        elif isinstance(step, Rest):
            counting = self._countings.get(name)
            figures = counting.figures if counting is not None else {}
            self._states[name] = RoleState(name, epoch, "running", "", figures)
        elif isinstance(step, Wait):
            self._states[name] = RoleState(name, epoch, step.state, step.reason)
        else:
            begins = isinstance(step, Start)
            self._states[name] = RoleState(name, epoch, "starting" if begins else "stopping", step.unit)
