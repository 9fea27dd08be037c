# SPDX-License-Identifier: Apache-2.0
"""One attempt to get a genesis decided: promises, then the value, then the votes for it. Pure.

An attempt lives in memory only. After a crash the node begins another with a higher round, as its acceptor
has promised this one on the disk.

Safety is in `choose`: when any of the promises brings a vote, the value of the vote with the highest ballot
is proposed again and no other, as it may have been decided. Only a quorum that has never voted is free.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from agent.cluster import Credential
from agent.errors import ClusterError
from agent.formation.ballot import Ballot
from agent.formation.genesis import MAX_FOUNDERS, encode_genesis, hash_encoded, make_genesis
from agent.formation.messages import Accept, Accepted, Prepare, Promise
from agent.formation.plan import counts, quorum

COLLECT = 1.0
"""How long a proposer with a quorum waits for further nodes that it sees, to be founders too."""
RETRY = 1.0
PHASE_LIMIT = 4.0
"""After so long without a quorum the first attempt is given up; later ones wait longer, for slow networks."""
MAX_PHASE_LIMIT = 32.0


@dataclass(frozen=True)
class Attempt:
    ballot: Ballot
    limit: float  # seconds for each of the two phases
    since: float  # when the phase began
    sent: float  # when its question was last sent
    promises: Mapping[str, Promise] = field(default_factory=dict)
    value: bytes | None = None  # None: still asking for promises
    votes: Mapping[str, bytes] = field(default_factory=dict)  # node ID -> signature


def begin(ballot: Ballot, failures: int, now: float) -> Attempt:
    """Return a new attempt; `failures` is how many of this node came to nothing before."""
    limit = min(PHASE_LIMIT * 2.0**failures, MAX_PHASE_LIMIT)
    return Attempt(ballot, limit, since=now, sent=now)


def question(attempt: Attempt) -> Prepare | Accept:
    """Return what the attempt asks of all nodes."""
    if attempt.value is None:
        return Prepare(attempt.ballot)
    return Accept(attempt.ballot, attempt.value)


def add_promise(attempt: Attempt, sender: str, promise: Promise) -> Attempt:
    """Return the attempt with the promise of `sender`; the first one of each node counts."""
    if attempt.value is not None or promise.ballot != attempt.ballot or sender in attempt.promises:
        return attempt
    if promise.vote is not None and promise.vote.ballot >= attempt.ballot:
        raise ClusterError(f"node {sender} promises a ballot below one in which it voted")
    return replace(attempt, promises={**attempt.promises, sender: promise})


def add_vote(attempt: Attempt, sender: str, accepted: Accepted, signature: bytes) -> Attempt:
    """Return the attempt with the vote of `sender`."""
    if attempt.value is None or accepted.ballot != attempt.ballot:
        return attempt
    if accepted.value_hash != hash_encoded(attempt.value):
        raise ClusterError(f"node {sender} voted for another genesis than it was asked for")
    return replace(attempt, votes={**attempt.votes, sender: signature})


def may_choose(attempt: Attempt, credential: Credential, forming: tuple[str, ...], now: float) -> bool:
    """Tell whether it is time to choose: a quorum promised, and so did those who would be founders.

    `forming` are the nodes in view, sorted. They are waited for for COLLECT seconds at most, and not at all
    when the value is not free.
    """
    if attempt.value is not None or len(attempt.promises) < quorum(credential):
        return False
    if now - attempt.since >= COLLECT or any(promise.vote for promise in attempt.promises.values()):
        return True
    return set(forming[: most_founders(credential)]) <= attempt.promises.keys()


def most_founders(credential: Credential) -> int:
    """Return how many founders a genesis may have."""
    return min(MAX_FOUNDERS, credential.voters, max(1, credential.machines))


def choose(attempt: Attempt, credential: Credential, random: Callable[[int], bytes], now: float) -> Attempt:
    """Return the attempt in its second phase, with the value that it must or may propose."""
    votes = [promise.vote for promise in attempt.promises.values() if promise.vote is not None]
    if votes:
        last = max(votes, key=lambda vote: vote.ballot)
        if any(vote.ballot == last.ballot and vote.value != last.value for vote in votes):
            raise ClusterError(
                f"two machines with the key of node {last.ballot.node_id} take part in forming",
                hint="a copied disk: switch one of them off and wipe its /var",
            )
        value = last.value
    else:
        # The proposer is one of them: it is the first to know.
        first = sorted(attempt.promises, key=lambda node: (node != attempt.ballot.node_id, node))
        founders = first[: most_founders(credential)]
        hardware = {node_id: attempt.promises[node_id].hardware for node_id in founders}
        value = encode_genesis(make_genesis(credential, hardware, random)[0])
    return replace(attempt, value=value, since=now, sent=now)


def decided(attempt: Attempt, credential: Credential) -> dict[str, bytes] | None:
    """Return the signatures (by node ID) of a quorum, once one has voted."""
    votes = {
        node_id: signature for node_id, signature in attempt.votes.items() if counts(credential, node_id)
    }
    if attempt.value is None or len(votes) < quorum(credential):
        return None
    return votes
