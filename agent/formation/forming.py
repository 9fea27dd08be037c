# SPDX-License-Identifier: Apache-2.0
"""Forming as one machine: messages and looks at the network go in, what to write and to send comes out. Pure.

Each step returns an Outcome, and the caller carries it out in this order:

1. `persist`, when set, becomes the content of forming.msgpack, forced to the disk. When that fails, the whole
   Outcome is dropped and the former Formation kept, as if the message had been lost.
2. `formation` is kept for the next step.
3. `reply` answers the query that was handed in; `broadcasts` go to all as queries `cos-form`.
4. `decided`, when set, becomes genesis.msgpack: the cluster exists.

`begin` to have a Formation, `tick` at least each `wake` seconds and when the network changed, `receive` for
each query `cos-form` and each answer to one, `learn` for a genesis record that was fetched from a peer.
Times are monotonic seconds.

A node announces a genesis by gossip (Peer.genesis) only when it holds its record: `Formation.genesis`, never
what it merely sees. Else two nodes that saw a third one's before that died would each take the other for a
member, and form no more. What nodes announce that are down does not count for the same reason; if theirs was
decided, those who form again decide the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from agent.cluster import Credential, Peer
from agent.errors import ClusterError
from agent.formation import plan, pursue
from agent.formation.acceptor import State
from agent.formation.candidate import (
    CONFLICT_HINT,
    WAKE,
    Formation,
    Outcome,
    answer,
    conflict,
    hear_decision,
    learn,
)
from agent.formation.messages import Accept, Decided, Nack, Prepare, decode_message
from agent.identity import identity_of_seed

MAX_LEAP = 1 << 20
"""A ballot may be so many rounds above those heard of: no single message uses up all rounds there are."""

__all__ = ["Formation", "Outcome", "begin", "learn", "receive", "tick"]


def begin(
    credential: Credential, seed: bytes, hardware: str, state: State, random: Callable[[int], bytes]
) -> Formation:
    """Return the Formation of the node with that seed (32 bytes) and hardware fingerprint (12 digits).

    `state` is what forming.msgpack holds (acceptor.decode_state), or State() when there is no such file;
    `random(n)` gives n random bytes.
    """
    me = identity_of_seed(seed).node_id
    highest = state.promised.round if state.promised else 0
    return Formation(credential, me, hardware, seed, random, state, highest)


def tick(formation: Formation, peers: Iterable[Peer], now: float) -> Outcome:
    """Look at the network, and do what is due."""
    view = plan.look(formation.credential, formation.me, formation.hardware, peers)
    patience = plan.observe(formation.patience, formation.credential, view, now)
    formation = replace(formation, view=view, patience=patience)
    if formation.geneses:
        return Outcome(replace(formation, attempt=None), _of_geneses(formation))
    if formation.attempt is not None:
        return pursue.press_on(formation, formation.attempt, now)
    due = plan.due(patience, formation.credential, formation.me)
    if due is None:
        return Outcome(formation, _alone(formation))
    if now < due:
        return Outcome(formation, _waiting(formation, due - now), wake=min(WAKE, due - now))
    return pursue.start(formation, now)


def receive(formation: Formation, data: bytes, now: float) -> Outcome:
    """Take a query `cos-form`, or an answer to one.

    Raises ClusterError for what is no message of this cluster, or is not to be believed; it changes nothing.
    """
    received = decode_message(data, formation.credential.cluster_id)
    message, sender = received.message, received.sender
    if not plan.counts(formation.credential, sender):
        raise ClusterError(f"node {sender} takes part in forming, but is not on the allowlist")
    named = message.promised if isinstance(message, Nack) else message.ballot
    if named.round > formation.highest + MAX_LEAP:
        raise ClusterError(f"node {sender} names a ballot out of reach: {named.round}")
    if isinstance(message, Decided):
        return hear_decision(formation, message)
    if isinstance(message, Prepare | Accept):
        return answer(formation, sender, message, now)
    return pursue.take(formation, received, now)


def _of_geneses(formation: Formation) -> str:
    if len(formation.geneses) > 1:
        return f"{conflict(formation.geneses)}; {CONFLICT_HINT}"
    name = formation.geneses[0][:8]
    return (
        f"the cluster exists: genesis {name}" if formation.genesis else f"joining the cluster: genesis {name}"
    )


def _alone(formation: Formation) -> str:
    credential = formation.credential
    if plan.takes_part(credential, formation.me):
        return f"{_in_sight(formation)}; {plan.quorum(credential)} are needed"
    if credential.machines:
        return "no cluster in sight; this node is not on the allowlist of founders: waiting for one to join"
    return "no cluster in sight; waiting for the machine with the founding medium"


def _waiting(formation: Formation, seconds: float) -> str:
    first = formation.view.forming[0]
    if first == formation.me:
        return f"{_in_sight(formation)}; proposing in {seconds:.1f} s"
    return f"{_in_sight(formation)}; waiting for {first} to propose"


def _in_sight(formation: Formation) -> str:
    return (
        f"forming: {len(formation.view.forming)} of {formation.credential.machines} planned machines in sight"
    )
