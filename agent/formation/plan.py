# SPDX-License-Identifier: Apache-2.0
"""Who counts for forming, and whose turn it is to propose. Pure; times are monotonic seconds.

Who counts keeps forming safe. Whose turn it is only makes it quick: whatever is chosen here, Paxos lets at
most one genesis be decided.

The lowest node ID that sees a quorum begins; each next one waits TAKEOVER longer, so that a proposer that
died is replaced while two that live do not disturb each other:

    quorum in view      no arrival for SETTLE, or        the lowest   the next
    (for the first      SETTLE_LIMIT since the quorum,   proposes     would
     time)              or all planned machines here
    |-------------------|--------------------------------|------------|--------
                                                         0            TAKEOVER

A new promise or vote for another proposer starts the wait anew, TAKEOVER later. A failed attempt doubles
the node's own wait, up to BACK_OFF_LIMIT, with a share that depends on node and round, so that two which
disturb each other drift apart.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from agent.cluster import Credential, Peer, Phase, Policy

SETTLE = 1.0
SETTLE_LIMIT = 5.0
LOOK = 5.0
"""How long one that founds alone looks for a cluster first, from when its gossip runs."""
TAKEOVER = 4.0
STAND_BACK = 4 * TAKEOVER
"""How long a proposer waits that got a genesis decided of which it is no founder."""
BACK_OFF = 0.5
BACK_OFF_LIMIT = 16.0


def quorum(credential: Credential) -> int:
    """Return how many machines decide: more than half of the planned ones; 1 for a founding medium."""
    return credential.machines // 2 + 1


def counts(credential: Credential, node_id: str) -> bool:
    """Tell whether the node counts towards a quorum, and may be a founder.

    Of an allowlist only node IDs count here: nothing proves whose TPM an endorsement key is before there is
    a cluster. A founding medium is the operator's word by itself.
    """
    if credential.policy is not Policy.ALLOWLIST or not credential.machines:
        return True
    return node_id in credential.allowlist


def takes_part(credential: Credential, node_id: str) -> bool:
    """Tell whether this node, with that credential, may promise and propose; else it only joins.

    A founder's flag counts only where no number of machines is planned: elsewhere the others do not know
    that they must wait for it, and would found beside it.
    """
    return counts(credential, node_id) if credential.machines else credential.ticket.founder


@dataclass(frozen=True)
class View:
    """What gossip shows at one moment."""

    forming: tuple[str, ...] = ()  # nodes that could make a quorum, sorted, this one among them
    geneses: tuple[str, ...] = ()  # hashes of the geneses that living nodes follow, sorted


def look(credential: Credential, me: str, hardware: str, peers: Iterable[Peer]) -> View:
    """Return what the node `me` on `hardware` sees in `peers`, which may hold itself. Clones count once."""
    alive = [peer for peer in peers if peer.alive and (peer.node_id, peer.hardware) != (me, hardware)]
    forming = {
        peer.node_id
        for peer in alive
        if peer.phase == Phase.FORMING.value
        and peer.genesis is None
        and credential.machines
        and counts(credential, peer.node_id)
    }
    if takes_part(credential, me):
        forming.add(me)
    return View(tuple(sorted(forming)), tuple(sorted({peer.genesis for peer in alive if peer.genesis})))


@dataclass(frozen=True)
class Patience:
    """What decides when this node's turn comes."""

    forming: tuple[str, ...] = ()
    changed: float = 0.0  # last arrival of a node in `forming`
    quorum_since: float | None = None
    heard: float | None = None  # when another proposer last got a promise or a vote from this node
    failures: int = 0
    not_before: float = 0.0


def observe(patience: Patience, credential: Credential, view: View, now: float) -> Patience:
    """Return `patience` after a look at the network."""
    since = patience.quorum_since
    if len(view.forming) < quorum(credential):
        since = None
    elif since is None:
        since = now
        # What failed before failed for want of a quorum.
        patience = replace(patience, failures=0, not_before=now)
    arrived = bool(set(view.forming) - set(patience.forming))
    return replace(
        patience,
        forming=view.forming,
        changed=now if arrived else patience.changed,
        quorum_since=since,
    )


def due(patience: Patience, credential: Credential, me: str) -> float | None:
    """Return the time from which the node `me` may begin an attempt; None as long as it sees no quorum."""
    if patience.quorum_since is None or me not in patience.forming:
        return None
    if quorum(credential) == 1:
        settled = patience.quorum_since + LOOK
    elif len(patience.forming) >= credential.machines:
        settled = patience.changed
    else:
        settled = min(patience.changed + SETTLE, patience.quorum_since + SETTLE_LIMIT)
    if patience.heard is not None:
        settled = max(settled, patience.heard + TAKEOVER)
    return max(settled + TAKEOVER * patience.forming.index(me), patience.not_before)


def fail(patience: Patience, me: str, round_: int, now: float) -> Patience:
    """Return `patience` after an attempt of this node, in that round, came to nothing."""
    wait = min(BACK_OFF * 2.0**patience.failures, BACK_OFF_LIMIT)
    share = hashlib.sha256(f"{me} {round_}".encode()).digest()[0] / 256
    # No more than 16 doublings: the number must stay finite.
    failures = min(patience.failures + 1, 16)
    return replace(patience, failures=failures, not_before=now + wait * (0.5 + share))
