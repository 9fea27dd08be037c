# SPDX-License-Identifier: Apache-2.0
"""The way into a cluster: forming one with others, or asking to be admitted, with the join credential."""

from agent.cluster import Credential, Phase
from agent.discovery.serf_records import QueryAnswer, QueryReceived
from agent.membership import ledger as ledgers
from agent.membership.admission_blob import Admission
from agent.service import membership as memberships
from agent.service.consensus import Consensus
from agent.service.faults import Faults
from agent.service.following import Following
from agent.service.forming import Forming
from agent.service.gossip import Gossip
from agent.service.handover import Handover
from agent.service.phase import Standing, Verdict
from agent.service.place import Place
from agent.service.seeking import Seeking, membership_of


class Entering:
    """What ends with the first membership of this node, or with its next one on a new board."""

    def __init__(
        self,
        place: Place,
        handed: Handover,
        me: str,
        *,
        gossip: Gossip,
        consensus: Consensus,
        following: Following,
        faults: Faults,
    ) -> None:
        self._place = place
        self._handed = handed
        self._me = me
        self._gossip = gossip
        self._consensus = consensus
        self._following = following
        self._faults = faults
        self._forming: Forming | None = None
        self._seeking = Seeking(handed, me)
        self.credential: Credential | None = None

    @property
    def verdict(self) -> Verdict | None:
        """The last word of a voter on this node."""
        return self._seeking.verdict

    @property
    def sentence(self) -> str:
        """How forming stands; empty when this node does not form."""
        if not self._gossip.hears:
            return "it waits for gossip to run"
        return self._forming.sentence if self._forming else ""

    def take_credential(self, credential: Credential | None) -> None:
        """Begin anew with another credential."""
        self.credential, self._forming = credential, None

    def tick(self, standing: Standing, now: float) -> None:
        """Do what is due."""
        if standing.phase is Phase.FORMING:
            self._faults.guard("forming", lambda: self._form(now))
        if standing.seeks:
            membership = self._following.membership
            followed = membership.hash if membership else None
            self._faults.guard(
                "joining", lambda: self._seeking.tick(self._gossip, self.credential, followed, now)
            )

    def hear_query(self, query: QueryReceived, now: float) -> None:
        """Take a query of a node that forms."""
        if self._forming is not None:
            self._found(self._forming.hear(query, self._gossip, now))

    def hear_answer(self, answer: QueryAnswer, now: float) -> None:
        """Take an answer to one of this node's own questions."""
        if self._seeking.expects(answer.query):
            admission = self._seeking.hear(answer, self.credential, self._gossip, now)
            if admission is not None:
                self._faults.guard("admission", lambda: self._accept(admission))
        elif self._forming is not None:
            self._found(self._forming.hear(answer, self._gossip, now))

    def _form(self, now: float) -> None:
        # Who cannot hear yet does not know that it is alone.
        if not self._gossip.hears:
            return
        self._found(self._open_forming().tick(self._gossip.peers, self._gossip, now))

    def _open_forming(self) -> Forming:
        """Return this node's part in forming, with what it has promised before."""
        assert self.credential is not None
        if self._forming is None:
            self._forming = Forming(self._place, self.credential, self._handed.seed, self._handed.hardware)
        return self._forming

    def _found(self, record: bytes | None) -> None:
        """Begin as a founder with a genesis record that was just decided."""
        if record is None or self._following.membership is not None or self.credential is None:
            return
        membership = memberships.found(record, self.credential, self._handed.seed)
        self._consensus.found(membership.ledger, self._me)
        self._following.begin(membership)

    def _accept(self, admission: Admission) -> None:
        """Begin as an admitted member.

        A founder who did not hear that the genesis was decided still begins as one, whether its vote was
        needed or not: it has acknowledged nothing since, so its empty log is a true one. That it took part
        stands on its disk, and is gone when that was wiped and a log with it.
        """
        membership = membership_of(admission)
        begun = ledgers.begin(admission.genesis)
        named = self._me in begun.voters and self._me in membership.ledger.voters
        if named and self._open_forming().took_part:
            self._consensus.found(begun, self._me)
        self._following.begin(membership)
