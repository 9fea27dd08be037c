# SPDX-License-Identifier: Apache-2.0
"""What a node does that wants to be a member: asks voters in turn, fetches its admission, checks it."""

import logging
from dataclasses import replace

from nacl.utils import random

from agent.cluster import Credential, Peer, Phase
from agent.discovery.serf_records import QueryAnswer
from agent.errors import ClusterError
from agent.identity import identity_of_node_id
from agent.membership import ledger as ledgers
from agent.membership.admission_blob import Admission, open_admission
from agent.membership.join_request import NONCE_BYTES, JoinRequest, open_answer, seal_request
from agent.service import blobs
from agent.service.gossip import Gossip
from agent.service.handover import Handover
from agent.service.membership import Membership
from agent.service.phase import Verdict, find_geneses
from agent.service.welcome import QUERY

ASK_AGAIN = 1.0
"""Seconds after which the next voter is asked."""
ASK_AGAIN_PENDING = 5.0
FETCH_AGAIN = 2.0
"""Seconds after which a part that did not come is asked for again."""
_log = logging.getLogger("joining")


class Seeking:
    """The requests of one node; `verdict` is the last word of a voter."""

    def __init__(self, handed: Handover, me: str) -> None:
        self._handed = handed
        self._me = me
        self._turn = 0
        self._ask_at = 0.0
        self._voter = ""
        self._request = b""
        self._query: int | None = None
        self._fetch: blobs.Fetch | None = None
        self._fetch_query: int | None = None
        self._fetch_at = 0.0
        self.verdict: Verdict | None = None

    def tick(self, gossip: Gossip, credential: Credential | None, followed: str | None, now: float) -> None:
        """Ask who is to be asked next; `followed` is the hash of the genesis that this node follows."""
        geneses = (followed,) if followed else find_geneses(self._me, gossip.peers)
        if credential is None or len(geneses) != 1:
            self.verdict = None
            return
        if self._fetch is not None and now < self._fetch_at + FETCH_AGAIN * 5:
            if now >= self._fetch_at + FETCH_AGAIN:
                self._ask_for_part(gossip, now)
            return
        if now < self._ask_at:
            return
        members = [peer for peer in gossip.peers if _is_member(peer, geneses[0])]
        # Right after forming the voters may be the very ones who have not heard of it, and have to ask.
        asked = [peer for peer in members if peer.voter] or members
        if not asked:
            return
        self._fetch = None
        self._voter = asked[self._turn % len(asked)].name
        self._turn += 1
        self._ask_at = now + (ASK_AGAIN_PENDING if self.verdict else ASK_AGAIN)
        self._request = seal_request(
            self._handed.seed,
            JoinRequest(
                node_id=self._me,
                nonce=random(NONCE_BYTES),
                genesis=followed,
                ticket=credential.ticket,
                hardware=self._handed.hardware,
                hostname=identity_of_node_id(self._me).hostname,
                ek=self._handed.ek,
            ),
        )
        self._query = gossip.ask(QUERY, self._request, [self._voter])

    def expects(self, query: int) -> bool:
        """Tell whether an answer to that query is for this."""
        return query in (self._query, self._fetch_query)

    def hear(
        self, answer: QueryAnswer, credential: Credential | None, gossip: Gossip, now: float
    ) -> Admission | None:
        """Take an answer; return the admission once it is whole and proved."""
        if credential is None:
            return None
        try:
            if answer.query == self._query:
                self._hear_verdict(answer.payload, gossip, now)
                return None
            if self._fetch is None:
                return None
            self._fetch = blobs.take(self._fetch, answer.payload)
            if not self._fetch.done:
                self._ask_for_part(gossip, now)
                return None
            data, self._fetch = self._fetch.data, None
            return open_admission(data, credential, self._handed.seed, self._handed.hardware)
        except ClusterError as error:
            _log.warning("%s: %s", answer.node, error.message)
            self._fetch = None
            return None

    def _hear_verdict(self, payload: bytes, gossip: Gossip, now: float) -> None:
        answer = open_answer(payload, self._request)
        if answer.blob is not None:
            self.verdict = None
            self._fetch = blobs.Fetch(answer.blob, answer.size)
            self._ask_for_part(gossip, now)
            return
        if answer.reason != (self.verdict.reason if self.verdict else ""):
            _log.info("%s: %s", answer.state, answer.reason)
        being_admitted = answer.state == "pending" and answer.reason == "it is being admitted"
        self.verdict = None if being_admitted else Verdict(answer.state, answer.reason)
        if being_admitted:
            # The same voter knows first.
            self._turn -= 1
            self._ask_at = now + 0.3

    def _ask_for_part(self, gossip: Gossip, now: float) -> None:
        assert self._fetch is not None
        self._fetch_at = now
        self._fetch_query = gossip.ask(blobs.QUERY, blobs.ask(self._fetch, self._handed.seed), [self._voter])


def membership_of(admission: Admission) -> Membership:
    """Return the membership with which an admitted node begins; the ledger proper follows from Raft."""
    begun = ledgers.begin(admission.genesis)
    voters = {contact.member.node_id: contact.member for contact in admission.voters}
    ledger = replace(
        begun,
        members={**voters, admission.member.node_id: admission.member},
        voters=tuple(sorted(voters)),
        revision=admission.member.number,
    )
    return Membership(admission.record, admission.genesis, ledger, admission.secrets)


def _is_member(peer: Peer, genesis: str) -> bool:
    return peer.alive and peer.genesis == genesis and peer.phase == Phase.MEMBER.value
