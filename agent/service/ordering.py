# SPDX-License-Identifier: Apache-2.0
"""Tell the supervisor of roles what this node has and who its users are, and hear from it how that does."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from agent.cluster import Ledger
from agent.discovery.tags import MAX_ROLES
from agent.facts import read_facts
from agent.roles import secret
from agent.roles.composition import (
    compose_order,
    find_conflicts,
    list_ordered,
    list_served,
    list_states,
)
from agent.roles.order import Order, OrderedRole, Report
from agent.roles.placement import find_obstacle
from agent.roles.role import Kind, Roles
from agent.service.courier import Courier
from agent.service.membership import Membership
from agent.status.document import RoleStatus
from agent.tree import Tree
from agent.users.user import User

SAY_AGAIN = 5.0
"""Seconds after which the same order is given again: the supervisor may have been started anew."""
LOOK_AGAIN = 2.0
"""The same while a role is not settled."""
_SETTLED = {"running"}


class Ordering:
    """The agent's end. Without roles in the image and without the supervisor's socket it does nothing."""

    def __init__(
        self,
        roles: Roles,
        labels: Iterable[str],
        seed: bytes,
        me: str,
        changed: Callable[[], None],
        *,
        path: Path,
        interface: str,
    ) -> None:
        """`changed` is called, from another thread, when there is news of the supervisor."""
        self._roles = roles
        self._seed = seed
        self._me = me
        self._interface = interface
        self._said: Order | None = None
        self._said_at = float("-inf")
        self.report: Report | None = None
        self._obstacles: dict[str, str] = {}
        self._conflicts: dict[str, str] = {}  # roles that this node has not, as it has others
        self._secrets: dict[str, tuple[int, bytes]] = {}  # name -> version, bytes
        self._courier = Courier(path, changed) if roles or path.exists() else None
        if roles:
            facts, marks = read_facts(Tree()), set(labels)
            for role in roles.values():
                obstacle = find_obstacle(role.placement, facts, marks)
                if obstacle is not None:
                    self._obstacles[role.name] = obstacle

    @property
    def leading(self) -> tuple[str, ...]:
        """The roles with a lease that this node can hold, as many as there is room for in its tags."""
        able = sorted(role.name for role in self._roles.values() if role.kind is not Kind.EVERY)
        found: tuple[str, ...] = ()
        for name in able:
            if name not in self._obstacles and len(",".join((*found, name))) <= MAX_ROLES:
                found = (*found, name)
        return found

    @property
    def working(self) -> tuple[str, ...]:
        """The roles here that have to give up their work before this node leaves."""
        here = self.report.roles if self.report is not None else ()
        return tuple(each.name for each in here if each.name in self._drained)

    @property
    def _drained(self) -> tuple[str, ...]:
        return tuple(role.name for role in self._roles.values() if role.drain is not None)

    def keep(
        self,
        membership: Membership,
        held: Collection[tuple[str, int, float]],
        users: Iterable[User],
        now: float,
        *,
        member: bool,
        leaving: bool = False,
        coming: Collection[str] = (),
        fresh: bool = False,
    ) -> str:
        """Order what is this node's; return what changed, empty for nothing. No `member`: no role, no user.

        `leaving`: roles that drain are not this node's any more.
        `coming`: the roles of kind servers for which it is going to be chosen. `fresh`: the ledger has all
        that was committed when this node started.
        Never waits. Raises ClusterError when the supervisor did not answer.
        """
        if self._courier is None:
            return ""
        ledger = membership.ledger
        ordered: tuple[OrderedRole, ...] = ()
        self._conflicts = find_conflicts(self._roles, ledger, self._me, coming)
        if leaving:
            self._conflicts |= dict.fromkeys(self._drained, "this node leaves its cluster")
        if member:
            ordered = (
                *list_ordered(self._roles, {**self._obstacles, **self._conflicts}, held),
                *list_served(self._roles, ledger, self._me, fresh=fresh),
            )
        order = compose_order(
            self._me,
            membership.genesis,
            ledger,
            ordered,
            self._open_secrets(ledger),
            cleans=[role for role, _, _ in held],
            interface=self._interface,
            users=users if member else (),
        )
        settled = self.report is not None and all(each.state in _SETTLED for each in self.report.roles)
        if order != self._said or now >= self._said_at + (SAY_AGAIN if settled else LOOK_AGAIN):
            self._courier.give(order)
            self._said, self._said_at = order, now
        outcome = self._courier.outcome
        if outcome.error is not None:
            self.report = None
            raise outcome.error
        before, self.report = self.report, outcome.report
        return _describe(before, self.report) if self.report is not None else ""

    def states(self, membership: Membership | None) -> tuple[RoleStatus, ...]:
        """Return where each role stands here."""
        return list_states(
            self._roles,
            {**self._obstacles, **self._conflicts},
            membership.ledger if membership else None,
            self.report,
        )

    def _open_secrets(self, ledger: Ledger) -> dict[str, bytes]:
        """Return the secrets of roles that this node can open. A box is opened once."""
        for name in {each.name for role in self._roles.values() for each in role.secrets}:
            known = ledger.secrets.get(name)
            version = known.version if known else 0
            if self._secrets.get(name, (0, b""))[0] != version:
                found = secret.read(ledger, name, self._me, self._seed)
                self._secrets[name] = version, found[1] if found else b""
        return {name: value for name, (_, value) in self._secrets.items() if value}


def _describe(before: Report | None, after: Report) -> str:
    known = {each.name: each.state for each in before.roles} if before is not None else {}
    changed = [f"{each.name} is {each.state}" for each in after.roles if known.get(each.name) != each.state]
    gone = sorted(known.keys() - {each.name for each in after.roles})
    return ", ".join((*changed, *(f"{name} has stopped" for name in gone)))
