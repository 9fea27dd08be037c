# SPDX-License-Identifier: Apache-2.0
"""This node's end of the replicated ledger: runs agent/election/raft.py as it should, commits commands."""

import logging
from collections.abc import Callable, Iterable
from enum import Enum

from agent.cluster import Genesis, Ledger, Peer, RaftStatus
from agent.config import Election
from agent.election import storage
from agent.election.address import join
from agent.election.raft import Applied, Machine, Outcome, Raft
from agent.errors import ClusterError
from agent.membership import ledger as ledgers
from agent.membership import ledger_file
from agent.service.inbox import Inbox
from agent.service.membership import Membership
from agent.service.place import Place

OFF = RaftStatus("off", None, 0, 0, (), (), False)
VOTER_PATIENCE = 20.0
"""Seconds without a leader after which a voter looks whether the others have gone on without its vote."""
OBSERVER_PATIENCE = 10.0
RETRY = 5.0
"""Seconds after which Raft is started again when it could not be, or has ended by itself."""
_log = logging.getLogger("consensus")
Done = Callable[[bool, str], None]
"""Hears whether a command was applied, and why not; on the loop's thread."""


class Mode(Enum):
    """How this node takes part in Raft."""

    OFF = "off"
    OBSERVER = "observer"
    VOTER = "voter"
    FRESH = "new voter"  # a voter that has never had a vote, or lost its right to the former one


def choose_mode(
    me: str, ledger: Ledger, status: RaftStatus, running: Mode, waited: float, *, has_log: bool
) -> Mode:
    """Return how the node should take part. Pure.

    `waited` is how many seconds it has had no leader in the mode `running`. A voter whose log is gone follows
    without a vote: what it acknowledged must not be forgotten. A voter without a leader may be one that was
    replaced while it was off, so it looks as an observer for a while; not to vote is always safe.
    """
    if me not in ledger.voters:
        return Mode.OBSERVER
    if running is Mode.OFF:
        return Mode.VOTER if has_log else Mode.OBSERVER
    if running in (Mode.VOTER, Mode.FRESH):
        lonely = status.leader is None and waited > VOTER_PATIENCE and len(ledger.voters) > 1
        return Mode.OBSERVER if lonely else running
    if status.ready:
        if me not in status.voters:
            return Mode.FRESH
        return Mode.VOTER if has_log else Mode.OBSERVER
    return Mode.VOTER if has_log and waited > OBSERVER_PATIENCE else Mode.OBSERVER


class Answer:
    """What became of a command: a message for the inbox, so that `done` is called on the loop's thread."""

    def __init__(self, done: Done, outcome: Outcome, result: ledgers.Result | None) -> None:
        self._done, self._outcome, self._result = done, outcome, result

    def tell(self) -> None:
        """Tell it."""
        if self._outcome is Outcome.COMMITTED and self._result is not None:
            self._done(self._result.applied, self._result.reason)
        elif self._outcome is Outcome.REFUSED:
            self._done(False, "there is no leader to commit it: a majority of the voters must be up")
        else:
            self._done(False, "nobody could tell whether it was committed; look at the status and try again")


class Consensus:
    """Raft as the loop sees it."""

    def __init__(self, place: Place, config: Election, inbox: Inbox) -> None:
        self._folder = place.raft
        self._config = config
        self._inbox = inbox
        self._raft: Raft[Ledger] | None = None
        self._since = float("-inf")  # when the present mode began, or a leader was last seen
        self._failed = float("-inf")
        self._met: frozenset[str] = frozenset()  # mesh addresses of the voters that Raft was told
        self.mode = Mode.OFF
        self.error = ""

    def found(self, ledger: Ledger, me: str) -> None:
        """Begin the log of a new cluster, where this node is one of its first voters."""
        if me in ledger.voters and not storage.exists(self._folder):
            voters = tuple(join(ledger.members[voter].ipv4, self._config.port) for voter in ledger.voters)
            storage.found(self._folder, ledger_file.encode_ledger(ledger), voters)

    def keep(self, membership: Membership, me: str, peers: Iterable[Peer], now: float) -> str:
        """Have Raft run in the right mode and know the voters; return what was changed, empty for nothing."""
        fault = self._raft.fault() if self._raft is not None else None
        if fault is not None:
            self.stop()
            self.error, self._failed = fault.message, now
        if now - self._failed < RETRY:
            return ""
        status = self.status
        if status.leader is not None:
            self._since = now
        ledger, has_log = membership.ledger, storage.exists(self._folder)
        wanted = choose_mode(me, ledger, status, self.mode, now - self._since, has_log=has_log)
        if wanted is self.mode:
            self._meet(ledger, peers)
            return ""
        self.stop()
        member = ledger.members[me]
        try:
            self._raft = Raft(
                machine_of(membership.genesis),
                member.ipv4,
                tuple(ledger.members[voter].ipv4 for voter in ledger.voters if voter != me),
                membership.secrets.raft_password,
                folder=None if wanted is Mode.OBSERVER else self._folder,
                fresh=wanted is Mode.FRESH,
                port=self._config.port,
                changed=self._inbox.wake,
            )
        except ClusterError as error:
            self.error, self._failed = error.message, now
            _log.warning("Raft does not start: %s", error)
            return ""
        self.mode, self.error, self._since, self._met = wanted, "", now, frozenset()
        return f"follows the ledger as {'an' if wanted is Mode.OBSERVER else 'a'} {wanted.value}"

    def _meet(self, ledger: Ledger, peers: Iterable[Peer]) -> None:
        """Tell Raft who votes by the ledger or by gossip: its own log may be older than both."""
        voters = set(ledger.voters)
        for peer in peers:
            member = ledger.members.get(peer.node_id)
            if peer.alive and peer.voter and member is not None and member.hardware == peer.hardware:
                voters.add(peer.node_id)
        hosts = frozenset(ledger.members[voter].ipv4 for voter in voters)
        if self._raft is not None and hosts != self._met:
            self._met = hosts
            self._raft.meet(tuple(sorted(hosts)))

    @property
    def status(self) -> RaftStatus:
        """Where Raft stands."""
        return self._raft.status() if self._raft is not None else OFF

    @property
    def applied(self) -> Applied[Ledger] | None:
        """The newest ledger; None until one is known."""
        return self._raft.applied() if self._raft is not None else None

    @property
    def leader_since(self) -> float | None:
        """Since when this node leads (monotonic); None when it does not."""
        return self._raft.leader_since() if self._raft is not None else None

    @property
    def raft(self) -> Raft[Ledger] | None:
        """Raft itself, for changes of voters."""
        return self._raft

    def commit(self, command: bytes, done: Done) -> None:
        """Commit a command; `done` hears what became of it, once."""
        if self._raft is None:
            done(False, "this node does not follow the ledger yet")
            return

        def heard(outcome: Outcome, result: ledgers.Result | None) -> None:
            self._inbox.put(Answer(done, outcome, result))

        self._raft.commit(command, heard)

    def stop(self) -> None:
        """End Raft on this node; its log stays."""
        if self._raft is not None:
            self._raft.stop()
            self._raft = None
        self.mode = Mode.OFF


def machine_of(genesis: Genesis) -> Machine[Ledger]:
    """Return the ledger of this genesis as what Raft replicates."""
    return Machine(
        reduce=lambda ledger, command: ledgers.reduce(ledger, command, genesis),
        encode=ledger_file.encode_ledger,
        decode=lambda data: ledger_file.decode_ledger(data, "the ledger of a snapshot"),
        names=lambda ledger: {member.ipv4: node_id for node_id, member in ledger.members.items()},
    )
