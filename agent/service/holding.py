# SPDX-License-Identifier: Apache-2.0
"""The role leases that this node holds: renews them, and knows until when it may act under them."""

import logging
from collections.abc import Callable, Collection

from agent.boottime import read_clock
from agent.cluster import Ledger
from agent.election import leases
from agent.membership import commands
from agent.service.consensus import Consensus

AT_LEAST = 0.05
"""Seconds of the shortest wait."""
_log = logging.getLogger("roles")


class Holding:
    """See agent/election/leases.py, the part of the holder."""

    def __init__(self, me: str, times: leases.LeaseTimes, clock: Callable[[], float] = read_clock) -> None:
        self._me = me
        self._times = times
        self._clock = clock
        self._holds: dict[str, leases.Hold] = {}
        self._asked: dict[str, float] = {}
        self._acting: frozenset[str] = frozenset()

    def tick(self, ledger: Ledger, consensus: Consensus, withheld: Collection[str] = ()) -> tuple[str, ...]:
        """Renew what is due, but not what is `withheld`; return what began and ended here, in words.

        `ledger` is the newest that this node knows: an old one never lets it act for longer.
        """
        now = self._clock()
        for role, lease in ledger.leases.items():
            due = leases.renewal_due(
                self._holds.get(role), lease, self._me, now, asked=self._asked.get(role), times=self._times
            )
            if due and role not in withheld:
                self._renew(role, lease.epoch, now, consensus)
        acting = frozenset(role for role in self._holds if self.may_act(role, ledger, now))
        began, ended = sorted(acting - self._acting), sorted(self._acting - acting)
        self._acting = acting
        for role in began:
            _log.info("%s: began in epoch %d at %.3f", role, self._holds[role].epoch, now)
        for role in ended:
            over = leases.deadline(self._holds[role], self._times)
            _log.info("%s: ended at %.3f; its time is over at %.3f", role, self._clock(), over)
        return (*(f"began {role}" for role in began), *(f"ended {role}" for role in ended))

    def end(self) -> tuple[str, ...]:
        """Act in no role any more: this node is no member."""
        ended = sorted(self._acting)
        for role in ended:
            _log.info("%s: ended at %.3f", role, self._clock())
        self._holds, self._acting = {}, frozenset()
        return tuple(f"ended {role}" for role in ended)

    def wait(self) -> float:
        """Return in how many seconds there is something to do by the clock: to renew, or to end."""
        now = self._clock()
        ends = [
            moment
            for role in self._acting
            for moment in (
                leases.deadline(self._holds[role], self._times),
                max(
                    self._holds[role].sent + self._times.renewal,
                    self._asked.get(role, 0.0) + self._times.retry,
                ),
            )
        ]
        # Never at once: a tick that fails before it comes here must not be repeated without a pause.
        return max(AT_LEAST, min(ends) - now) if ends else float("inf")

    @property
    def acting(self) -> tuple[str, ...]:
        """The roles that run here, as the last tick had it."""
        return tuple(sorted(self._acting))

    @property
    def held(self) -> tuple[tuple[str, int, float], ...]:
        """Of each role that runs here: name, epoch, and when it must be told to stop (CLOCK_BOOTTIME)."""
        return tuple(
            (role, self._holds[role].epoch, leases.deadline(self._holds[role], self._times))
            for role in self.acting
        )

    def may_act(self, role: str, ledger: Ledger, now: float | None = None) -> bool:
        """Tell whether this node may act in the role at this moment."""
        at = self._clock() if now is None else now
        return leases.may_act(self._holds.get(role), ledger.leases.get(role), self._me, at, self._times)

    def _renew(self, role: str, epoch: int, sent: float, consensus: Consensus) -> None:
        self._asked[role] = sent

        def done(applied: bool, reason: str) -> None:
            if applied:
                self._holds[role] = leases.renewed(self._holds.get(role), role, epoch, sent)
            else:
                _log.info("did not renew %s: %s", role, reason)

        consensus.commit(commands.lease_renew(role, self._me, epoch), done)
