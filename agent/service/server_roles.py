# SPDX-License-Identifier: Apache-2.0
"""Sees to the roles of kind servers in the ledger: says what runs here, and as Raft's leader who is chosen.

What there is to do follows from the ledger and from what the supervisor of roles reports, so whoever comes
next goes on where another stopped. See agent/roles/servers.py and agent/membership/ledger_servers.py.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from agent.cluster import Ledger
from agent.membership import commands
from agent.membership.ledger_servers import servers_of
from agent.roles import servers
from agent.roles.order import Report
from agent.roles.role import Kind, Roles
from agent.service.consensus import Consensus

PATIENCE = 10.0
"""Seconds after which something of which nothing was heard is begun again."""
_log = logging.getLogger("servers")


class ServerRoles:
    """`report` is what the supervisor said last; None: it does not answer."""

    def __init__(self, me: str, roles: Roles) -> None:
        self._me = me
        self._roles = {role.name: role for role in roles.values() if role.kind is Kind.SERVERS}
        self._away: Mapping[str, float] = {}
        self._under_way: dict[str, float] = {}
        self.report: Report | None = None
        self.coming: tuple[str, ...] = ()
        """The roles for which this node is going to be chosen."""

    @property
    def roles(self) -> Collection[str]:
        """The roles of this kind that the image has."""
        return self._roles.keys()

    def watch(self, ledger: Ledger, alive: Collection[str], now: float) -> None:
        """Note who is away; by every node, so that a new leader need not wait the whole time anew."""
        self._away = servers.watch(self._away, ledger, {self._me, *alive}, now)

    def withheld(self, ledger: Ledger) -> set[str]:
        """Return the leases that this node gives up: others run the role, and it does not."""
        found = set()
        for role in self._roles:
            known = servers_of(ledger, role)
            if len(known.ready) > 1 and self._me in known.ready and not self._runs(role, None):
                found.add(role)
        return found

    def tell(
        self, ledger: Ledger, acting: Collection[str], consensus: Consensus, now: float
    ) -> Iterable[str]:
        """Commit what this node knows: that it runs a role, of whom a role has let go."""
        for role in self._roles:
            known = servers_of(ledger, role)
            server = known.find(self._me)
            if server is not None and not server.ready and self._runs(role, server.since):
                command = commands.servers_ready(ledger, role, self._me)
                yield from self._commit(f"says that it runs {role}", command, consensus, now)
            if role in acting and known.gone:
                yield from self._let_go(role, known.gone, ledger, consensus, now)

    def arrange(
        self, ledger: Ledger, able: Mapping[str, Sequence[str]], consensus: Consensus, now: float
    ) -> Iterable[str]:
        """As Raft's leader, choose servers and drop them."""
        for name, role in self._roles.items():
            limits = servers.Limits(role.count, role.replace_after)
            found = servers.plan(name, limits, ledger, able=able.get(name, ()), away=self._away, now=now)
            if (step := found.step) is None:
                continue
            make = commands.servers_choose if step.kind == "choose" else commands.servers_drop
            sentence = f"{step.kind}s {step.node} as a server of {name}: {step.reason}"
            yield from self._commit(sentence, make(ledger, name, step.node), consensus, now)

    def look_ahead(self, ledger: Ledger, able: Mapping[str, Sequence[str]]) -> None:
        """Find out for which roles this node is going to be chosen.

        Or was just now: the ledger that is followed in this tick may not have it yet, and what must not run
        beside the role would begin for a moment.
        """
        known = {name: servers_of(ledger, name) for name in self._roles}
        self.coming = tuple(
            name
            for name, role in self._roles.items()
            if known[name].find(self._me) is not None
            or servers.may_be_chosen(self._me, role.count, known[name], able.get(name, ()))
        )

    def _let_go(
        self, role: str, gone: Sequence[str], ledger: Ledger, consensus: Consensus, now: float
    ) -> Iterable[str]:
        known = self.report.let_go if self.report is not None else ()
        done = {each.node_id for each in known if each.role == role}
        for node in gone:
            if node in done or not self._roles[role].on_removed:
                command = commands.servers_let_go(ledger, role, node)
                yield from self._commit(f"{role} has let go of {node}", command, consensus, now)

    def _runs(self, role: str, epoch: int | None) -> bool:
        """Whether the role is reported to run here, in this epoch; None: in any."""
        states = self.report.roles if self.report is not None else ()
        return any(
            each.name == role and each.state == "running" and epoch in (None, each.epoch) for each in states
        )

    def _commit(self, name: str, command: bytes, consensus: Consensus, now: float) -> Iterable[str]:
        self._under_way = {each: end for each, end in self._under_way.items() if end > now}
        if name in self._under_way:
            return
        self._under_way[name] = now + PATIENCE
        consensus.commit(command, self._done(name))
        yield name

    def _done(self, name: str) -> Callable[[bool, str], None]:
        def done(applied: bool, reason: str) -> None:
            self._under_way.pop(name, None)
            _log.log(logging.INFO if applied else logging.DEBUG, "%s: %s", name, reason)

        return done
