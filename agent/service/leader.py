# SPDX-License-Identifier: Apache-2.0
"""Does in the ledger what is this node's to see to: duties, leases, voters. Pure modules decide what."""

import logging

from nacl.utils import random

from agent.cluster import Peer
from agent.config import Election
from agent.membership import commands
from agent.membership.secrets import ADMISSION, GOSSIP, KEY_BYTES
from agent.service.consensus import Consensus
from agent.service.duties import COORDINATOR, Duty, RotateGossip, list_duties
from agent.service.membership import Membership

PATIENCE = 10.0
"""Seconds after which a command of which nothing was heard is given again."""
_log = logging.getLogger("leader")


class Leader:
    """Commits what is due, each thing once at a time."""

    def __init__(self, me: str, config: Election) -> None:
        self._me = me
        self._config = config
        self._under_way: dict[str, float] = {}

    def tick(self, membership: Membership, consensus: Consensus, peers: tuple[Peer, ...], now: float) -> str:
        """Do what is due; return what was begun, empty for nothing."""
        self._under_way = {name: end for name, end in self._under_way.items() if end > now}
        leads = consensus.leader_since is not None
        begun = []
        for duty in list_duties(self._me, membership.ledger, leads=leads):
            name = type(duty).__name__
            if name not in self._under_way:
                command = self._compose(duty, membership)
                if command is not None:
                    self._commit(name, command, consensus, now)
                    begun.append(duty.__doc__.partition(":")[0].rstrip(".").lower() if duty.__doc__ else name)
        return ", ".join(begun)

    def _compose(self, duty: Duty, membership: Membership) -> bytes | None:
        ledger, secrets = membership.ledger, membership.secrets
        if isinstance(duty, RotateGossip):
            lease = ledger.leases.get(COORDINATOR)
            role = (COORDINATOR, lease.epoch) if lease and lease.holder == self._me else (None, 0)
            return commands.put_secret(
                ledger, GOSSIP, random(KEY_BYTES), ledger.members, role=role[0], epoch=role[1]
            )
        if secrets.admission_seed is None:
            return None
        return commands.put_secret(ledger, ADMISSION, secrets.admission_seed, ledger.voters)

    def _commit(self, name: str, command: bytes, consensus: Consensus, now: float) -> None:
        self._under_way[name] = now + PATIENCE

        def done(applied: bool, reason: str) -> None:
            self._under_way.pop(name, None)
            _log.log(logging.INFO if applied else logging.DEBUG, "%s: %s", name, reason)

        consensus.commit(command, done)
