# SPDX-License-Identifier: Apache-2.0
"""A new holder goes on with what a majority of the voters had taken, or its own disk if that is newer."""

from hypothesis import given
from hypothesis import strategies as st

from agent.copies.version import NONE, Answer, Choice, Version, choose

versions = st.builds(Version, st.integers(0, 3), st.integers(0, 3))


def answers(*given: tuple[str, int, int]) -> list[Answer]:
    return [Answer(host, Version(epoch, number)) for host, epoch, number in given]


def test_half_of_the_voters_are_too_few() -> None:
    assert choose(0, answers(("a", 1, 1)), voters=2) is None
    assert choose(0, [], voters=1) is None
    assert choose(0, answers(("a", 1, 1), ("b", 1, 1)), voters=3) is not None


def test_the_newest_of_the_latest_epoch_is_taken() -> None:
    found = choose(0, answers(("a", 2, 7), ("b", 2, 9), ("c", 1, 99)), voters=3)
    assert found == Choice("b", Version(2, 9))


def test_the_last_holder_goes_on_with_its_own_disk() -> None:
    assert choose(2, answers(("a", 2, 9), ("b", 1, 1)), voters=3) == Choice(None, Version(2, 9))


def test_a_holder_before_the_last_one_does_not() -> None:
    assert choose(1, answers(("a", 2, 9), ("b", 1, 1)), voters=3) == Choice("a", Version(2, 9))


def test_where_nobody_has_anything_there_is_a_beginning() -> None:
    assert choose(0, answers(("a", 0, 0), ("b", 0, 0)), voters=3) == Choice(None, NONE)


@given(
    voters=st.integers(1, 5),
    taken=st.data(),
)
def test_what_a_majority_had_taken_is_never_lost(voters: int, taken: st.DataObject) -> None:
    hosts = [str(number) for number in range(voters)]
    majority = voters // 2 + 1
    newest = Version(5, taken.draw(st.integers(1, 9)))
    have = set(taken.draw(st.permutations(hosts))[:majority])
    # The others have something older.
    held = {host: newest if host in have else taken.draw(versions) for host in hosts}
    heard = taken.draw(st.permutations(hosts))[: taken.draw(st.integers(majority, voters))]
    own = taken.draw(st.integers(0, 4))
    found = choose(own, [Answer(host, held[host]) for host in heard], voters)
    assert found is not None
    assert found.host is not None
    assert found.version == newest
