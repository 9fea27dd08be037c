# SPDX-License-Identifier: Apache-2.0
"""What a voter does with nodes that ask to be members: rules, commits, answers, hands out admissions."""

import hashlib
import logging
import time
from collections.abc import Iterable

from agent.cluster import Credential, Peer
from agent.discovery.join_plan import join_port
from agent.discovery.serf_records import QueryReceived
from agent.errors import ClusterError
from agent.identity import identity_of_node_id
from agent.membership import commands
from agent.membership.admission import Decision, Ruling, find_allowlist, judge
from agent.membership.admission_blob import seal_admission
from agent.membership.certificate import issue_certificate
from agent.membership.join_request import JoinAnswer, JoinRequest, open_request, seal_answer
from agent.membership.ticket import judge_ticket
from agent.service import blobs
from agent.service.clock import is_clock_synchronised
from agent.service.consensus import Consensus
from agent.service.membership import Membership
from agent.status.document import PendingStatus

QUERY = "cos-join"
FORGET = 30.0
"""Seconds after which a node that has not asked again is no longer shown as waiting."""
MOST_BLOBS = 256
MOST_WAITING = 256
_BEING_ADMITTED = Ruling(Decision.PENDING, "it is being admitted")
_log = logging.getLogger("welcome")


class Welcome:
    """Answers queries `cos-join` and `cos-blob`."""

    def __init__(self, seed: bytes, me: str) -> None:
        self._seed = seed
        self._me = me
        self._blobs: dict[bytes, bytes] = {}
        self._admissions: dict[str, tuple[object, bytes]] = {}  # node ID -> what it was made from, hash
        self._asked: dict[str, tuple[JoinRequest, str, float]] = {}
        self._committing: dict[str, float] = {}
        self.peers: tuple[Peer, ...] = ()
        self.wireguard_port = 0
        self.addresses: tuple[str, ...] = ()

    def hear(
        self,
        query: QueryReceived,
        membership: Membership | None,
        consensus: Consensus,
        credential: Credential | None,
        now: float,
    ) -> bytes | None:
        """Return the answer to a query; None where it is somebody else's to answer, or not worth one."""
        try:
            if query.name == blobs.QUERY:
                return blobs.answer(query.payload, self._blobs, self._seed)
            if (
                query.name == QUERY
                and membership is not None
                and membership.secrets.admission_seed is not None
            ):
                return self._hear_request(query.payload, membership, consensus, credential, now)
        except ClusterError as error:
            _log.info("ignored a query %s: %s", query.name, error.message)
        return None

    def waiting(self, membership: Membership | None, now: float) -> tuple[PendingStatus, ...]:
        """Return the nodes that wait to be let in."""
        if membership is None:
            return ()
        self._asked = {node: entry for node, entry in self._asked.items() if now - entry[2] < FORGET}
        members = membership.ledger.members
        return tuple(
            PendingStatus(node, identity_of_node_id(node).fingerprint, request.hardware, reason)
            for node, (request, reason, _) in sorted(self._asked.items())
            if node not in members or members[node].hardware != request.hardware
        )

    def _hear_request(
        self,
        payload: bytes,
        membership: Membership,
        consensus: Consensus,
        credential: Credential | None,
        now: float,
    ) -> bytes:
        request = open_request(payload)
        genesis, ledger = membership.genesis, membership.ledger
        verdict = judge_ticket(
            request.ticket,
            genesis.cluster_id,
            (genesis.operator_key, genesis.admission_key),
            time.time(),
            clock_synchronised=bool(is_clock_synchronised()),
        )
        allowlist = find_allowlist(ledger, genesis, credential) if credential else ledger.allowlist
        ruling = judge(request, ledger, verdict, allowlist)
        member = ledger.members.get(request.node_id)
        if ruling.decision is Decision.ADMIT and (member is None or member.hardware != request.hardware):
            self._admit(request, membership, consensus, now)
            ruling = _BEING_ADMITTED
        elif ruling.decision in (Decision.PENDING, Decision.QUARANTINE) and len(self._asked) < MOST_WAITING:
            self._asked[request.node_id] = (request, ruling.reason, now)
        blob, size = None, 0
        if ruling.decision is Decision.ADMIT:
            blob, size = self._make_admission(request.node_id, membership)
        answer = JoinAnswer(self._me, ledger.genesis, ruling.decision.value, ruling.reason[:300], blob, size)
        return seal_answer(self._seed, payload, answer)

    def _admit(self, request: JoinRequest, membership: Membership, consensus: Consensus, now: float) -> None:
        """Have the ledger admit the node; asked again while that lasts, nothing is done twice."""
        if self._committing.get(request.node_id, 0.0) > now:
            return
        self._committing = {node: end for node, end in self._committing.items() if end > now}
        self._committing[request.node_id] = now + 10.0
        secrets = membership.secrets
        assert secrets.admission_seed is not None
        certificate = issue_certificate(
            secrets.admission_seed, membership.hash, request.node_id, request.hardware
        )
        command = commands.admit(
            certificate,
            membership.ledger,
            gossip_key=secrets.gossip_key,
            raft_password=secrets.raft_password,
        )

        def done(applied: bool, reason: str) -> None:
            self._committing.pop(request.node_id, None)
            _log.info("%s", reason if applied else f"did not admit {request.node_id}: {reason}")

        consensus.commit(command, done)

    def _make_admission(self, node_id: str, membership: Membership) -> tuple[bytes, int]:
        """Return hash and size of the admission of a member, which is kept until it is old."""
        ledger = membership.ledger
        made_from = (ledger.members[node_id], ledger.voters, membership.secrets.gossip_version)
        known = self._admissions.get(node_id)
        if known is not None and known[0] == made_from and known[1] in self._blobs:
            return known[1], len(self._blobs[known[1]])
        if len(self._blobs) >= MOST_BLOBS:
            oldest = next(iter(self._blobs))
            del self._blobs[oldest]
        endpoints = dict(_endpoints(self.peers))
        endpoints[self._me] = tuple(join_port(address, self.wireguard_port) for address in self.addresses)
        blob = seal_admission(
            self._seed,
            node_id,
            record=membership.record,
            ledger=ledger,
            endpoints=endpoints,
            secrets=membership.secrets,
        )
        digest = hashlib.sha256(blob).digest()
        self._blobs[digest] = blob
        self._admissions[node_id] = (made_from, digest)
        return digest, len(blob)


def _endpoints(peers: Iterable[Peer]) -> Iterable[tuple[str, tuple[str, ...]]]:
    for peer in peers:
        if peer.alive:
            yield peer.node_id, (join_port(peer.address, peer.wireguard_port),)
