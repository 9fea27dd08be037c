# SPDX-License-Identifier: Apache-2.0
"""The role leases that this node holds: renews them, and knows until when it may act under them."""

import logging
import time
from collections.abc import Callable

from agent.cluster import Ledger
from agent.election import leases
from agent.membership import commands
from agent.service.consensus import Consensus

_log = logging.getLogger("roles")


def read_clock() -> float:
    """Return the clock of a holder in seconds: it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Holding:
    """See agent/election/leases.py, the part of the holder."""

    def __init__(self, me: str, times: leases.LeaseTimes, clock: Callable[[], float] = read_clock) -> None:
        self._me = me
        self._times = times
        self._clock = clock
        self._holds: dict[str, leases.Hold] = {}
        self._asked: dict[str, float] = {}
        self._acting: frozenset[str] = frozenset()

    def tick(self, ledger: Ledger, consensus: Consensus) -> tuple[str, ...]:
        """Renew what is due; return the roles that run here now, in words where that changed."""
        now = self._clock()
        for role, lease in ledger.leases.items():
            due = leases.renewal_due(
                self._holds.get(role), lease, self._me, now, asked=self._asked.get(role), times=self._times
            )
            if due:
                self._renew(role, lease.epoch, now, consensus)
        acting = frozenset(role for role in self._holds if self.may_act(role, ledger, now))
        changes = [f"began {role}" for role in sorted(acting - self._acting)]
        changes += [f"ended {role}" for role in sorted(self._acting - acting)]
        self._acting = acting
        return tuple(changes)

    @property
    def acting(self) -> tuple[str, ...]:
        """The roles that run here, as the last tick had it."""
        return tuple(sorted(self._acting))

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
