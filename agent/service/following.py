# SPDX-License-Identifier: Apache-2.0
"""The cluster that this node follows: its membership in memory, and every change of it first on the disk."""

import logging
import time
from collections.abc import Callable, Collection

from agent.cluster import Credential, Ledger
from agent.election.raft import Applied
from agent.errors import ClusterError
from agent.membership import commands
from agent.membership import ledger as ledgers
from agent.service import farewell
from agent.service import membership as memberships
from agent.service.gossip import Gossip
from agent.service.membership import Membership
from agent.service.place import Place

_log = logging.getLogger("membership")


class Following:
    """`membership` is what this node belongs to; None: to nothing, or it could not be read."""

    def __init__(self, place: Place, seed: bytes, me: str, gossip: Gossip, wake: Callable[[], None]) -> None:
        self._place = place
        self._seed = seed
        self._me = me
        self._gossip = gossip
        self._wake = wake
        self._former_key, self._former_until = b"", 0.0  # the gossip key that is kept for a moment
        self.membership: Membership | None = None
        self.read = False

    def load(self) -> None:
        """Read the membership from the disk; ClusterError names what is damaged."""
        self.membership = memberships.load(self._place, self._seed)
        self.read = True

    def begin(self, membership: Membership) -> None:
        """Become a member: first on the disk, then in fact."""
        memberships.save(self._place, membership, self.membership, self._seed)
        self.membership = membership
        self._wake()

    def follow(self, applied: Applied[Ledger] | None) -> None:
        """Go on with the ledger that Raft has, where it is newer."""
        if self.membership is None or applied is None:
            return
        known, state = self.membership.ledger, applied.state
        # Who has just started goes through the states of old again.
        if state != known and (state.generation, state.revision) >= (known.generation, known.revision):
            self.take(state)

    def take(self, ledger: Ledger) -> None:
        """Go on with a newer ledger, and tell those who were removed by it."""
        assert self.membership is not None
        before = self.membership
        newer = memberships.follow(before, ledger, self._me, self._seed)
        memberships.save(self._place, newer, before, self._seed)
        self.membership = newer
        gone = ledger.removed.keys() - before.ledger.removed.keys()
        if gone:
            self._former_key = before.secrets.gossip_key
            self._former_until = time.monotonic() + farewell.SECONDS
            self._say_farewell(newer, gone)

    def take_removal(self) -> None:
        """Be a removed node from now on: it was told so by a voter, or an operator had it leave."""
        if self.membership is None or self._me in self.membership.ledger.removed:
            return
        ledger, result = ledgers.reduce(
            self.membership.ledger, commands.remove(self._me), self.membership.genesis
        )
        if not result.applied:
            raise ClusterError(f"this node was removed, and cannot note it: {result.reason}")
        self.take(ledger)
        self._wake()

    def hear_farewell(self, payload: bytes) -> None:
        """Take a voter's word that this node was removed; what is not proved is no fault of this node."""
        if self.membership is None:
            return
        try:
            farewell.check(payload, self.membership, self._me)
        except ClusterError as error:
            _log.info("ignored a farewell: %s", error.message)
            return
        self.take_removal()

    def gossip_key(self, credential: Credential | None, now: float) -> bytes:
        """Return the key to gossip with: a key of the ledger beats the credential's."""
        if self.membership is None:
            assert credential is not None
            return credential.gossip_key
        return self._former_key if now < self._former_until else self.membership.secrets.gossip_key

    def _say_farewell(self, membership: Membership, gone: Collection[str]) -> None:
        seed = membership.secrets.admission_seed
        for peer in self._gossip.peers:
            if seed is not None and peer.alive and peer.node_id in gone and peer.node_id != self._me:
                payload = farewell.say(seed, membership.hash, peer.node_id)
                self._gossip.ask(farewell.QUERY, payload, [peer.name])
