# SPDX-License-Identifier: Apache-2.0
"""Whether a member can be removed without the loss of Raft's majority. Pure.

Who is removed is gone at once: the others drop it from the mesh, and it stops by itself. Raft goes on to
count its vote until the leader has changed Raft's own list, which takes a majority of that list. So two
voters of three that are removed in one second, or one while another is away, would take the cluster with
them. Each is removed only when the others are still a majority without it, by the list as it is now.
"""

from collections.abc import Collection

from agent.cluster import Ledger, RaftStatus


def find_obstacle(ledger: Ledger, status: RaftStatus, alive: Collection[str], node: str) -> str:
    """Return why `node` cannot be removed yet, empty when it can. `alive`: the node IDs that gossip sees.

    Where no leader is known the commit itself tells so. A voter that the ledger does not name any more is on
    its way out of Raft, and does not count.
    """
    if status.leader is None or node not in status.voters:
        return ""
    if not status.ready:
        return "this node does not know yet who has a vote"
    left = {voter for voter in status.voters if voter in ledger.voters and voter in alive} - {node}
    number = len(status.voters)
    if 2 * len(left) > number:
        return ""
    return f"without {node} only {len(left)} of {number} votes would be left, which is no majority"
