# SPDX-License-Identifier: Apache-2.0
"""This node's part in forming a cluster: agent/formation/ with a disk and with Serf. Owns forming.msgpack."""

import logging
from collections.abc import Iterable

from nacl.utils import random

from agent import files
from agent.cluster import Credential, Peer
from agent.discovery.serf_records import QueryAnswer, QueryReceived
from agent.errors import ClusterError
from agent.formation import acceptor, forming
from agent.service.gossip import Gossip
from agent.service.place import Place

QUERY = "cos-form"
_log = logging.getLogger("forming")


class Forming:
    """A Formation whose promises are on the disk before an answer leaves.

    Raises ClusterError when the file with earlier promises is damaged: then the node forms nothing; and when
    it cannot be written.
    """

    def __init__(self, place: Place, credential: Credential, seed: bytes, hardware: str) -> None:
        self._file = place.forming
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            state = acceptor.State()
        else:
            state = acceptor.decode_state(data, credential.cluster_id, str(self._file))
        self._formation = forming.begin(credential, seed, hardware, state, random)
        self._decided: bytes | None = None
        self.sentence = ""
        self.wake = 1.0

    @property
    def took_part(self) -> bool:
        """True when this node has promised anything, as every founder has before it is chosen."""
        return self._formation.state.promised is not None

    def tick(self, peers: Iterable[Peer], gossip: Gossip, now: float) -> bytes | None:
        """Do what is due; return the genesis record when the cluster exists, as often as it is asked for."""
        if self._decided is not None:
            return self._decided
        return self._follow(forming.tick(self._formation, peers, now), gossip, None)

    def hear(self, message: QueryReceived | QueryAnswer, gossip: Gossip, now: float) -> bytes | None:
        """Take a query or an answer; return the genesis record when the cluster exists."""
        try:
            outcome = forming.receive(self._formation, message.payload, now)
        except ClusterError as error:
            _log.info("ignored a message: %s", error.message)
            return None
        return self._follow(outcome, gossip, message if isinstance(message, QueryReceived) else None)

    def _follow(self, outcome: forming.Outcome, gossip: Gossip, query: QueryReceived | None) -> bytes | None:
        """Do what an outcome says, in the order that it demands."""
        if outcome.persist is not None:
            # When that fails, it is as if the message had been lost.
            files.replace(self._file, outcome.persist, mode=0o600)
        self._formation = outcome.formation
        if outcome.sentence and outcome.sentence != self.sentence:
            _log.info("%s", outcome.sentence)
            self.sentence = outcome.sentence
        self.wake = outcome.wake
        if outcome.reply is not None and query is not None:
            gossip.answer(query, outcome.reply)
        for payload in outcome.broadcasts:
            gossip.ask(QUERY, payload)
        self._decided = outcome.decided or self._decided
        return outcome.decided
