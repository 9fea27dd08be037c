# SPDX-License-Identifier: Apache-2.0
"""What of a leader's entries is new to a follower. Pure.

Raft deletes from a follower's log only what conflicts with an entry of the leader (Ongaro and Ousterhout,
In Search of an Understandable Consensus Algorithm, figure 2, AppendEntries, 3 and 4). PySyncObj deletes all
that stands behind `prevLogIdx` and adds the message's entries anew. It also sends ranges twice, after a
connection came back, and so a message that is merely late takes entries away that the follower had
acknowledged and that may be committed by its word.
"""

from agent.election.journal_format import Entry
from agent.election.message import Message


def trim(message: Message, log: list[Entry]) -> tuple[Message, int | None]:
    """Return `append_entries` without what `log` has already, and the index where the log must seem to end.

    The index is None when the log may be seen as a whole: it ends there, or what follows conflicts.
    """
    index, term = message["prevLogIdx"], message["prevLogTerm"]
    if index is None or not log:
        return message, None
    first = log[0][1]

    def has(index: int, term: int) -> bool:
        return 0 <= index - first < len(log) and log[index - first][2] == term

    if not has(index, term):
        return message, None
    entries = message["entries"]
    known = 0
    while known < len(entries) and has(entries[known][1], entries[known][2]):
        _, index, term = entries[known]
        known += 1
    rest = entries[known:]
    shorter = {**message, "entries": rest, "prevLogIdx": index, "prevLogTerm": term}
    return shorter, index if not rest and index < log[-1][1] else None
