# SPDX-License-Identifier: Apache-2.0
"""Whose word counts in Raft. Pure.

Everybody who is connected holds the Raft password, and its address is its own; but a member that has no vote
must not be able to elect, to lead, or to say what is in the log.
"""


def may_say(kind: str, *, observer: bool, votes: bool, known: bool, fresh: bool) -> bool:
    """Tell whether a message of PySyncObj is heard.

    `votes`: Raft counts the sender here; `known`: the caller says that it has a vote; `fresh`: this node gets
    its first vote, and its log does not say so yet.
    """
    if observer:
        return kind in ("apply_command", "next_node_idx")
    if votes:
        return True
    # It may lead and stand for election: Raft may not have heard of it yet. Its own vote does not count.
    if known:
        return kind in ("append_entries", "request_vote")
    # Who is fresh follows whoever leads: nobody may have been able to tell it who can. It loses nothing.
    return fresh and kind == "append_entries"
