# SPDX-License-Identifier: Apache-2.0
"""What a follower takes of a leader's entries: the rule of the Raft paper, whatever is sent twice or late."""

from hypothesis import given
from hypothesis import strategies as st

from agent.election.journal import Memory
from agent.election.journal_format import Contents, Entry
from agent.election.log_matching import trim
from agent.election.message import Message


def log(terms: list[int], first: int = 1) -> list[Entry]:
    return [(b"\x00%d.%d" % (index, term), index, term) for index, term in enumerate(terms, first)]


def message(entries: list[Entry], previous: tuple[int, int]) -> Message:
    return {
        "type": "append_entries",
        "term": 9,
        "commit_index": 1,
        "entries": [list(entry) for entry in entries],
        "prevLogIdx": previous[0],
        "prevLogTerm": previous[1],
    }


def as_in_the_paper(mine: list[Entry], previous: tuple[int, int], entries: list[Entry]) -> list[Entry] | None:
    """Figure 2, AppendEntries, 2 to 4; None: refused."""
    found = {index: (command, index, term) for command, index, term in mine}
    if previous[0] not in found or found[previous[0]][2] != previous[1]:
        return None
    for entry in entries:
        if entry[1] in found and found[entry[1]][2] != entry[2]:
            found = {index: other for index, other in found.items() if index < entry[1]}
        found.setdefault(entry[1], entry)
    return [found[index] for index in sorted(found)]


def as_by_pysyncobj(mine: list[Entry], content: Message) -> tuple[list[Entry], int] | None:
    """What `SyncObj.__onMessageReceived` makes of the trimmed message: its log, and what it acknowledges."""
    journal = Memory(Contents(list(mine)))
    content, last = trim(content, journal.entries)

    def take() -> int | None:
        position = content["prevLogIdx"] - journal.entries[0][1]
        if not 0 <= position < len(journal) or journal.entries[position][2] != content["prevLogTerm"]:
            return None
        journal.deleteEntriesFrom(position + 1)
        for entry in content["entries"]:
            journal.add(*entry)
        return int(content["prevLogIdx"]) + len(content["entries"])

    if last is None:
        matched = take()
    else:
        with journal.up_to(last):
            matched = take()
    return None if matched is None else (list(journal.entries), matched)


@given(data=st.data())
def test_a_follower_keeps_what_the_paper_keeps_and_acknowledges_what_it_was_sent(data: st.DataObject) -> None:
    terms = st.lists(st.integers(1, 4), min_size=1, max_size=12).map(sorted)
    mine = log(data.draw(terms))
    leaders = log(data.draw(terms))
    # Logs of one cluster: what has one index and term is one entry, and so is all before it.
    same = data.draw(st.integers(0, min(len(mine), len(leaders))))
    leaders = log(sorted([term for _, _, term in mine[:same]] + [term for _, _, term in leaders[same:]]))
    start = data.draw(st.integers(0, len(leaders) - 1))
    end = data.draw(st.integers(start, len(leaders)))
    previous = leaders[start][1], leaders[start][2]
    entries = leaders[start + 1 : end]
    expected = as_in_the_paper(mine, previous, entries)
    found = as_by_pysyncobj(mine, message(entries, previous))
    if expected is None:
        assert found is None
    else:
        assert found == (expected, previous[0] + len(entries))


def test_a_late_message_takes_nothing_away() -> None:
    mine = log([1, 1, 1, 1, 1])
    assert as_by_pysyncobj(mine, message(mine[2:3], (2, 1))) == (mine, 3)


def test_a_late_heartbeat_takes_nothing_away() -> None:
    mine = log([1, 1, 1])
    assert as_by_pysyncobj(mine, message([], (1, 1))) == (mine, 1)


def test_what_conflicts_goes_with_all_behind_it() -> None:
    mine, theirs = log([1, 1, 2, 2]), log([1, 1, 3])
    assert as_by_pysyncobj(mine, message(theirs[1:], (1, 1))) == (theirs, 3)


def test_entries_before_a_snapshot_are_asked_for_anew() -> None:
    mine = log([5, 5], first=10)
    assert trim(message([], (4, 1)), mine) == (message([], (4, 1)), None)
    assert trim(message([], (4, 1)) | {"prevLogIdx": None}, mine)[1] is None
