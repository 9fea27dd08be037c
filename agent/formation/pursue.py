# SPDX-License-Identifier: Apache-2.0
"""A node's own attempt, carried on by each answer and by time. Pure.

The node answers its own questions first, by the very code that answers others, so that its promise and its
vote are on its disk before anybody hears of the ballot.
"""

from collections.abc import Mapping
from dataclasses import replace

from agent.errors import ClusterError
from agent.formation import plan, proposer
from agent.formation.ballot import Ballot
from agent.formation.candidate import WAKE, Formation, Outcome, answer, check_value, give_up, take_decision
from agent.formation.messages import (
    MAX_ACCEPTS,
    Accepted,
    Decided,
    Formed,
    Nack,
    Promise,
    Received,
    decode_message,
    encode_message,
)
from agent.formation.proposer import Attempt
from agent.formation.record import encode_record


def start(formation: Formation, now: float) -> Outcome:
    """Begin an attempt, in a round above all that this node has heard of."""
    ballot = Ballot(formation.highest + 1, formation.me, formation.hardware)
    attempt = proposer.begin(ballot, formation.patience.failures, now)
    return _ask(replace(formation, highest=ballot.round), attempt, now)


def take(formation: Formation, received: Received, now: float) -> Outcome:
    """Take an answer; one to an attempt that is over changes nothing."""
    attempt, sender, message = formation.attempt, received.sender, received.message
    if attempt is None or message.ballot != attempt.ballot:
        return Outcome(formation)
    match message:
        case Promise(_, _, vote):
            if vote is not None:
                check_value(formation.credential, vote.value)
            attempt = proposer.add_promise(attempt, sender, message)
        case Accepted():
            attempt = proposer.add_vote(attempt, sender, message, received.signature)
        case Nack(_, promised):
            highest = max(formation.highest, promised.round)
            sentence = f"{sender} has promised ballot {promised.round} of {promised.node_id}"
            return Outcome(give_up(replace(formation, highest=highest), now), sentence)
        case Formed(_, genesis):
            return Outcome(give_up(formation, now), f"{sender} knows of a cluster: genesis {genesis[:8]}")
    return press_on(replace(formation, attempt=attempt), attempt, now)


def press_on(formation: Formation, attempt: Attempt, now: float) -> Outcome:
    """Take the attempt as far as it goes at this moment."""
    accepts = proposer.decided(attempt, formation.credential)
    if accepts is not None:
        return _decide(formation, attempt, accepts, now)
    if proposer.may_choose(attempt, formation.credential, formation.view.forming, now):
        try:
            attempt = proposer.choose(attempt, formation.credential, formation.random, now)
        except ClusterError as error:
            return Outcome(give_up(formation, now), str(error))
        return _ask(formation, attempt, now)
    if now - attempt.since >= attempt.limit:
        return Outcome(give_up(formation, now), f"ballot {attempt.ballot.round} came to nothing")
    if now - attempt.sent >= proposer.RETRY:
        return _ask(formation, replace(attempt, sent=now), now)
    wake = min(WAKE, attempt.sent + proposer.RETRY - now, attempt.since + attempt.limit - now)
    return Outcome(formation, _progress(formation, attempt), wake=wake)


def _decide(formation: Formation, attempt: Attempt, accepts: Mapping[str, bytes], now: float) -> Outcome:
    """Take the decision, and tell those who voted; that is lost or too long where it is, and they join."""
    assert attempt.value is not None
    outcome = take_decision(formation, encode_record(attempt.value, attempt.ballot, accepts))
    if outcome.decided is None:
        # The founders are others: their turn comes before this node's next.
        patience = replace(formation.patience, not_before=now + plan.STAND_BACK)
        outcome = replace(outcome, formation=replace(outcome.formation, patience=patience))
    if len(accepts) > MAX_ACCEPTS:
        return outcome
    message = Decided(attempt.ballot, accepts)
    said = encode_message(formation.seed, formation.credential.cluster_id, message)
    return replace(outcome, broadcasts=(said,))


def _ask(formation: Formation, attempt: Attempt, now: float) -> Outcome:
    """Ask all nodes the question of the attempt, and take this node's own answer."""
    cluster_id = formation.credential.cluster_id
    message = proposer.question(attempt)
    own = answer(replace(formation, attempt=attempt), formation.me, message, now)
    assert own.reply is not None
    try:
        taken = take(own.formation, decode_message(own.reply, cluster_id), now)
    except ClusterError as error:
        # This node once voted for a genesis that does not fit the credential that it has now.
        return replace(own, formation=give_up(own.formation, now), sentence=str(error), reply=None)
    return replace(
        taken,
        persist=taken.persist or own.persist,
        broadcasts=(encode_message(formation.seed, cluster_id, message), *taken.broadcasts),
    )


def _progress(formation: Formation, attempt: Attempt) -> str:
    needed = plan.quorum(formation.credential)
    if attempt.value is None:
        return f"forming: ballot {attempt.ballot.round} has {len(attempt.promises)} of {needed} promises"
    return f"forming: ballot {attempt.ballot.round} has {len(attempt.votes)} of {needed} votes"
