# SPDX-License-Identifier: Apache-2.0
"""A node that forms: what it knows, and how it answers those who propose. Pure.

forming.py is the way in; pursue.py is the other half, the node's own attempts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.cluster import Credential
from agent.errors import ClusterError
from agent.formation import acceptor, plan, proposer
from agent.formation.genesis import check_genesis, decode_genesis
from agent.formation.messages import (
    Accept,
    Decided,
    Formed,
    Message,
    Nack,
    Prepare,
    Promise,
    encode_message,
)
from agent.formation.record import encode_record, open_record

WAKE = 1.0
CONFLICT_HINT = (
    "keep one of the clusters: on each machine of the other wipe /var, so that it joins; and plan as many "
    "machines as there are"
)


@dataclass(frozen=True)
class Formation:
    """What a node that knows of no cluster, or has just learnt of one, has in mind. Immutable."""

    credential: Credential = field(repr=False)
    me: str
    hardware: str
    seed: bytes = field(repr=False)
    random: Callable[[int], bytes] = field(repr=False)
    state: acceptor.State
    highest: int  # the highest round heard of
    view: plan.View = field(default_factory=plan.View)
    patience: plan.Patience = field(default_factory=plan.Patience)
    attempt: proposer.Attempt | None = None
    genesis: str | None = None  # hash of the decided genesis

    @property
    def geneses(self) -> tuple[str, ...]:
        """The hashes of the geneses that this node has or sees: one it joins, of more it joins none."""
        return tuple(sorted({*self.view.geneses, *((self.genesis,) if self.genesis else ())}))


@dataclass(frozen=True)
class Outcome:
    """What came of one step; see forming.py for the order in which it is carried out."""

    formation: Formation
    sentence: str = ""  # for the journal; none when there is nothing to say
    persist: bytes | None = None  # new content of forming.msgpack
    reply: bytes | None = None  # answer to the query that was handed in
    broadcasts: tuple[bytes, ...] = ()  # queries `cos-form` to all
    decided: bytes | None = None  # a genesis record, for genesis.msgpack
    wake: float = WAKE  # seconds until the next tick, at most


def answer(formation: Formation, sender: str, message: Prepare | Accept, now: float) -> Outcome:
    """Answer the proposer `sender`, who may be this node itself."""
    ballot = message.ballot
    if formation.geneses:
        # Who sees a cluster helps nobody to found another.
        return _reply(formation, Formed(ballot, formation.geneses[0]), f"told {sender} that a cluster exists")
    if not plan.takes_part(formation.credential, formation.me):
        raise ClusterError(f"node {sender} asks for a vote, but this node only joins")
    reply: Message
    if isinstance(message, Prepare):
        state, reply = acceptor.prepare(formation.state, message, formation.hardware)
    else:
        check_value(formation.credential, message.value)
        state, reply = acceptor.accept(formation.state, message)
    changed = state != formation.state
    persist = acceptor.encode_state(state, formation.credential.cluster_id) if changed else None
    formation = replace(formation, state=state, highest=max(formation.highest, ballot.round))
    if isinstance(reply, Nack):
        return _reply(formation, reply, f"refused ballot {ballot.round} of {sender}: it is too low")
    if sender != formation.me:
        # Only what is new: one that repeats itself for want of answers must not keep others waiting.
        if changed:
            formation = replace(formation, patience=replace(formation.patience, heard=now))
        if formation.attempt is not None and formation.attempt.ballot < ballot:
            formation = give_up(formation, now)
    what = "promised" if isinstance(reply, Promise) else "voted in"
    return replace(_reply(formation, reply, f"{what} ballot {ballot.round} of {sender}"), persist=persist)


def hear_decision(formation: Formation, message: Decided) -> Outcome:
    """Take the proposer's word that its ballot was decided, if this node voted in it and is a founder.

    Who has not voted, or is none, asks a founder to be admitted, as soon as one shows by gossip.
    """
    vote = formation.state.vote
    if vote is None or vote.ballot != message.ballot or formation.genesis is not None:
        return Outcome(formation)
    return take_decision(formation, encode_record(vote.value, message.ballot, message.accepts))


def take_decision(formation: Formation, record: bytes) -> Outcome:
    """Take a genesis record that was just decided; raises ClusterError as `learn` does.

    Who is no founder has no part in the cluster yet: until one shows, it helps to decide the same again.
    """
    genesis = open_record(record, formation.credential).genesis
    if formation.me in genesis.founders:
        return learn(formation, record)
    return Outcome(replace(formation, attempt=None), "the cluster is decided: its founders are to begin it")


def learn(formation: Formation, record: bytes) -> Outcome:
    """Take a genesis record, own or fetched from a peer.

    Raises ClusterError when it does not prove a genesis of this cluster, or when there is another one.
    """
    found = open_record(record, formation.credential).hash
    others = [genesis for genesis in formation.geneses if genesis != found]
    if others:
        raise ClusterError(conflict((found, *others)), hint=CONFLICT_HINT)
    formation = replace(formation, genesis=found, attempt=None)
    return Outcome(formation, f"the cluster exists: genesis {found[:8]}", decided=record)


def conflict(geneses: tuple[str, ...]) -> str:
    """Return the sentence about more than one genesis."""
    names = " and ".join(genesis[:8] for genesis in sorted(geneses))
    return f"{len(geneses)} clusters carry this cluster id (genesis {names}): this node joins none of them"


def give_up(formation: Formation, now: float) -> Formation:
    """Return `formation` without its attempt, which came to nothing."""
    if formation.attempt is None:
        return formation
    patience = plan.fail(formation.patience, formation.me, formation.attempt.ballot.round, now)
    return replace(formation, attempt=None, patience=patience)


def check_value(credential: Credential, value: bytes) -> None:
    """Raise ClusterError unless `value` is a genesis that this node may vote for."""
    genesis = decode_genesis(value)
    check_genesis(genesis, credential)
    for node_id in genesis.founders:
        if not plan.counts(credential, node_id):
            raise ClusterError(f"the genesis has a founder that is not on the allowlist: {node_id}")


def _reply(formation: Formation, message: Message, sentence: str) -> Outcome:
    data = encode_message(formation.seed, formation.credential.cluster_id, message)
    return Outcome(formation, sentence, reply=data)
