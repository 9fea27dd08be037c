# SPDX-License-Identifier: Apache-2.0
"""Whose word counts in Raft: voters', and of others only what does no harm."""

import pytest

from agent.election.hearing import may_say

KINDS = (
    "append_entries",
    "next_node_idx",
    "request_vote",
    "response_vote",
    "timeout_now",
    "apply_command",
    "apply_command_response",
)


def heard(
    *, observer: bool = False, votes: bool = False, known: bool = False, fresh: bool = False
) -> set[str]:
    return {kind for kind in KINDS if may_say(kind, observer=observer, votes=votes, known=known, fresh=fresh)}


def test_who_votes_is_heard() -> None:
    assert heard(votes=True) == set(KINDS)


@pytest.mark.parametrize("fresh", [False, True])
def test_an_observer_asks_and_follows_but_neither_leads_nor_elects(fresh: bool) -> None:
    assert heard(observer=True, fresh=fresh) == {"apply_command", "next_node_idx"}
    assert heard(observer=True, votes=True, known=True, fresh=fresh) == {"apply_command", "next_node_idx"}


def test_a_voter_that_raft_does_not_know_yet_may_lead_and_be_elected_but_does_not_elect() -> None:
    assert heard(known=True) == {"append_entries", "request_vote"}


def test_a_member_without_a_vote_is_not_heard() -> None:
    assert heard() == set()


def test_who_gets_its_first_vote_follows_whoever_leads() -> None:
    assert heard(fresh=True) == {"append_entries"}
