# SPDX-License-Identifier: Apache-2.0
"""What the loop says of itself: the status document, and one sentence a tick in the log."""

import logging
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.boottime import read_clock
from agent.cluster import Phase
from agent.control.runtime import Runtime
from agent.service import publish
from agent.service.clock import is_clock_synchronised
from agent.status import events, published
from agent.status.document import NodeStatus, TickStatus

if TYPE_CHECKING:
    from agent.service.daemon import Daemon

_log = logging.getLogger("agent")


class Telling:
    """Publishes after each tick."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self._ticks: deque[float] = deque(maxlen=256)
        self._count = 0
        self._said = ""

    def measure(self, began: float) -> None:
        """Note how long the tick took that began at `began` (monotonic)."""
        self._ticks.append(time.monotonic() - began)
        self._count += 1

    def publish(self, now: float, done: str) -> NodeStatus:
        """Publish what there is to tell after a tick that did `done`, and return it."""
        daemon = self._daemon
        sentence = self._sentence(done)
        ordered = sorted(self._ticks) or [0.0]
        known = publish.Knowledge(
            me=daemon.me,
            phase=daemon.standing.phase,
            sentence=sentence,
            error=daemon.faults.text,
            credential=daemon.credential,
            addresses=daemon.gossip.addresses,
            peers=daemon.gossip.peers,
            waiting=daemon.welcome.waiting(daemon.membership, now),
            raft=daemon.consensus.status,
            clock_synchronised=is_clock_synchronised(),
            tick=TickStatus(
                self._count, self._ticks[-1] if self._ticks else 0.0, ordered[len(ordered) * 95 // 100]
            ),
            strangers=daemon.gossip.roster.strangers,
            roles=daemon.ordering.states(daemon.membership),
            held={role: until - read_clock() for role, _, until in daemon.leader.holding.held},
            interface=daemon.config.networking.interface,
            wireguard_port=daemon.config.networking.listen_port,
        )
        status = publish.compose(known, daemon.membership, daemon.meshing.view, now)
        status = replace(status, events=events.follow(daemon.status, status, done))
        daemon.faults.guard("status", lambda: published.write(Runtime(daemon.place.run).status, status))
        if done or sentence != self._said:
            _log.info("%s", sentence)
        self._said = sentence
        return status

    def _sentence(self, done: str) -> str:
        """Say in one sentence what the tick did and why."""
        daemon = self._daemon
        standing, membership = daemon.standing, daemon.membership
        if standing.phase is not Phase.MEMBER or membership is None:
            said = daemon.entering.sentence if standing.phase is Phase.FORMING else ""
            return f"{standing.reason}{f': {said}' if said else ''}"
        ledger = membership.ledger
        vote = "voter" if daemon.me in ledger.voters else "member without a vote"
        held = daemon.leader.holding.acting
        roles = f", {' and '.join(held)} here" if held else ""
        return f"{done or 'no change'}: {vote} among {len(ledger.members)} members{roles}"
