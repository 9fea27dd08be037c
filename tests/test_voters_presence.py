# SPDX-License-Identifier: Apache-2.0
"""Who is there, as the leader sees it: what gossip forgets for a moment costs nobody a vote."""

from collections.abc import Mapping
from dataclasses import replace

from agent.cluster import Member, Peer
from agent.election.voters import Presence, Step, see_members
from tests.test_voters import DEAD, NEW, NOW, READY, cluster


def see(*peers: Peer, before: Mapping[str, Presence] | None = None, now: float = NOW) -> dict[str, Presence]:
    members = {
        node: Member(node, "00" * 6, f"10.0.0.{number}", None, number) for number, node in enumerate("abc")
    }
    ledger = replace(cluster(3, "abc").ledger, members=members)
    return see_members(before or {}, ledger, peers, me="a", now=now)


def make_peer(node: str, seen: float, *, alive: bool = True, voter: bool = True) -> Peer:
    return Peer(node, node, "00" * 6, "", alive, "m", None, 0, (), voter=voter, seen=seen)


def test_who_is_not_known_is_away_from_when_that_was_noticed() -> None:
    known = see(make_peer("b", 5.0), make_peer("c", 6.0, alive=False))
    assert known == {"b": Presence(True, 5.0, voter=True), "c": Presence(False, 6.0, voter=True)}
    gone = see(before=known, now=NOW + 1)
    assert gone == {"b": Presence(False, NOW + 1, voter=False), "c": Presence(False, 6.0, voter=False)}
    assert see(before=gone, now=NOW + 2) == gone
    assert see(now=NOW + 3)["b"] == Presence(False, NOW + 3, voter=False)
    assert see(make_peer("b", NOW + 4), before=gone)["b"] == Presence(True, NOW + 4, voter=True)


def test_since_when_somebody_is_idle_is_remembered() -> None:
    first = see(make_peer("b", 5.0, voter=False))
    assert first["b"].idle == NOW
    assert see(make_peer("b", 5.0, voter=False), before=first, now=NOW + 9)["b"].idle == NOW
    assert see(make_peer("b", 5.0), before=first, now=NOW + 9)["b"].idle is None
    assert see(make_peer("b", 5.0, voter=False, alive=False), before=first)["b"].idle is None


def test_a_gossip_that_starts_anew_costs_nobody_a_vote() -> None:
    """One of two voters is a moment away from being one of three."""
    two = cluster(3, "ab")
    forgotten = see(before=see(make_peer("b", 5.0), make_peer("c", 5.0)))
    assert replace(two, presence=forgotten).plan().step is None
    assert replace(two, presence={}).plan().step == Step("unname", "b")
    # It waits for one who has only just come back, and not for one who stays away.
    back = replace(two, presence={"b": READY, "c": NEW})
    assert "one more is about to be there" in back.plan().reason
    assert replace(two, presence={"b": READY, "c": DEAD}).plan().step == Step("unname", "b")
