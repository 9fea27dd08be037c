# SPDX-License-Identifier: Apache-2.0
"""Commands on their way into the log: each learns its fate once, and what may be there is not repeated."""

from agent.election.pending import Commit, Commits, Outcome


def make(deadline: float = 10.0) -> tuple[Commits, Commit, list[tuple[Outcome, object]]]:
    told: list[tuple[Outcome, object]] = []
    commits = Commits()
    commit = Commit(b"data", lambda outcome, result: told.append((outcome, result)), deadline)
    commits.add(commit)
    return commits, commit, told


def test_a_command_waits_until_a_leader_has_it() -> None:
    commits, commit, told = make()
    assert commits.to_give(1.0) == [commit]
    assert commits.to_give(2.0) == [commit]
    commit.given = True
    assert commits.to_give(3.0) == []
    commits.end(commit, Outcome.COMMITTED, 5)
    assert told == [(Outcome.COMMITTED, 5)]


def test_a_command_that_no_leader_had_in_time_is_refused_and_never_given() -> None:
    commits, _, told = make()
    assert commits.to_give(10.0) == []
    assert told == [(Outcome.REFUSED, None)]


def test_a_command_that_a_leader_had_may_be_committed_still() -> None:
    commits, commit, told = make()
    commit.given = True
    assert commits.to_give(10.0) == []
    assert told == [(Outcome.UNKNOWN, None)]


def test_a_fate_is_told_once() -> None:
    commits, commit, told = make()
    commits.end(commit, Outcome.REFUSED, None)
    commits.end(commit, Outcome.COMMITTED, 1)
    commits.end_all()
    assert commits.to_give(20.0) == []
    assert told == [(Outcome.REFUSED, None)]


def test_at_the_end_all_are_told() -> None:
    commits, commit, told = make()
    commit.given = True
    other: list[Outcome] = []
    commits.add(Commit(b"x", lambda outcome, _: other.append(outcome), 10.0))
    commits.end_all()
    assert told == [(Outcome.UNKNOWN, None)]
    assert other == [Outcome.REFUSED]


def test_a_callback_may_add_the_next_command() -> None:
    commits = Commits()
    added = Commit(b"next", lambda *_: None, 99.0)
    commits.add(Commit(b"first", lambda *_: commits.add(added), 1.0))
    assert commits.to_give(2.0) == [added]
