# SPDX-License-Identifier: Apache-2.0
"""Acceptors and the choice of the value, in every order that there is.

Of three machines each makes one attempt, and every order of everything that can happen is tried. What was
sent may arrive at any later moment, more than once, or never, which stands for loss, delay and the death of
whoever waits for it. Such a world is small enough to be searched to its end.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import NamedTuple

from agent.formation import acceptor, proposer
from agent.formation.acceptor import State
from agent.formation.ballot import Ballot, Vote
from agent.formation.messages import Accept, Accepted, Prepare, Promise
from agent.formation.plan import quorum
from tests.forming_material import NODES, make_credential

MACHINES = 3
CREDENTIAL = make_credential(MACHINES)
HARDWARE = "0123456789ab"
BALLOTS = tuple(Ballot(index + 1, NODES[index], HARDWARE) for index in range(3))
OWN = tuple(f"of ballot {ballot.round}".encode() for ballot in BALLOTS)


class Acceptor(NamedTuple):
    disk: State
    promises: frozenset[Promise] = frozenset()  # ever sent
    votes: frozenset[Vote] = frozenset()  # ever given


class Reached(NamedTuple):
    """One state of that world."""

    acceptors: tuple[Acceptor, ...]  # sorted: none of them is special
    accepts: tuple[bytes | None, ...]  # the value that was proposed in each ballot


@cache
def after_prepare(one: Acceptor, ballot: Ballot) -> Acceptor:
    disk, reply = acceptor.prepare(one.disk, Prepare(ballot), HARDWARE)
    # One that comes after the vote in the same ballot tells the proposer nothing.
    if not isinstance(reply, Promise) or (reply.vote is not None and reply.vote.ballot >= ballot):
        return one
    return one._replace(disk=disk, promises=one.promises | {reply})


@cache
def after_accept(one: Acceptor, ballot: Ballot, value: bytes) -> Acceptor:
    disk, reply = acceptor.accept(one.disk, Accept(ballot, value))
    if not isinstance(reply, Accepted):
        return one
    return Acceptor(disk, one.promises, one.votes | {Vote(ballot, value)})


@cache
def choose(number: int, promises: tuple[Promise, ...]) -> bytes | None:
    """What a proposer proposes after these promises; a word of its own where the choice is free."""
    attempt = proposer.begin(BALLOTS[number], failures=0, now=0.0)
    for node_id, promise in zip(NODES, promises, strict=False):
        attempt = proposer.add_promise(attempt, node_id, promise)
    if not proposer.may_choose(attempt, CREDENTIAL, (), now=proposer.COLLECT):
        return None
    value = proposer.choose(attempt, CREDENTIAL, bytes, now=0.0).value
    return value if any(promise.vote for promise in promises) else OWN[number]


@cache
def order(one: Acceptor) -> str:
    return repr(one)


def successors(state: Reached) -> Iterator[Reached]:
    for index, one in enumerate(state.acceptors):
        changed = {after_prepare(one, ballot) for ballot in BALLOTS}
        for ballot, value in zip(BALLOTS, state.accepts, strict=True):
            if value is not None:
                changed.add(after_accept(one, ballot, value))
        for other in changed:
            rest = (*state.acceptors[:index], other, *state.acceptors[index + 1 :])
            yield Reached(tuple(sorted(rest, key=order)), state.accepts)
    for number, ballot in enumerate(BALLOTS):
        if state.accepts[number] is None:
            answers = [
                promise for one in state.acceptors for promise in one.promises if promise.ballot == ballot
            ]
            for count in range(1, len(answers) + 1):
                for several in combinations(answers, count):
                    value = choose(number, several)
                    yield state._replace(
                        accepts=(*state.accepts[:number], value, *state.accepts[number + 1 :])
                    )


def chosen(state: Reached) -> set[bytes]:
    votes = Counter(vote for one in state.acceptors for vote in one.votes)
    return {vote.value for vote, count in votes.items() if count >= quorum(CREDENTIAL)}


def test_no_order_of_events_at_all_chooses_two_values() -> None:
    start = Reached((Acceptor(State()),) * MACHINES, (None,) * len(BALLOTS))
    seen, todo = {start}, [start]
    outcomes = set()
    while todo:
        state = todo.pop()
        values = chosen(state)
        assert len(values) <= 1, f"two values are chosen: {state}"
        outcomes |= values
        for reached in successors(state):
            if reached not in seen:
                seen.add(reached)
                todo.append(reached)
    # The search was no empty one: each of the attempts can win.
    assert outcomes == set(OWN)
