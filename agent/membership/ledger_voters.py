# SPDX-License-Identifier: Apache-2.0
"""The commands of the ledger about who votes: set_voters, recover. Pure.

Voters change one at a time, as Raft's membership does (D. Ongaro, "Consensus: Bridging Theory and Practice",
2014, 4.1). So their number is even in between; it comes back to an odd one by whoever asks for the changes.
"""

from dataclasses import replace

from agent import wire
from agent.cluster import Genesis, Ledger
from agent.errors import ClusterError

MAX_VOTERS = 5
MAX_GENERATION = 2**53


def largest_odd(number: int) -> int:
    """Return the largest odd number that is not above `number`, which is at least 1."""
    return number - 1 + number % 2


def set_voters(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Give one member a vote, or take the vote of one."""
    voters = _read_voters(ledger, fields)
    fields.done()
    changed = set(voters) ^ set(ledger.voters)
    if len(changed) != 1:
        raise ClusterError("voters change one at a time")
    (node_id,) = changed
    verb = "has a vote" if node_id in voters else "has no vote any more"
    return replace(ledger, voters=voters), f"{node_id} {verb}"


def recover(ledger: Ledger, fields: wire.Fields, _genesis: Genesis) -> tuple[Ledger, str]:
    """Go on with the voters that survived, as an operator decided on one of them.

    The next generation: whoever still follows the one before can tell that it was given up.
    """
    generation = fields.integer("generation", 1, MAX_GENERATION)
    voters = _read_voters(ledger, fields)
    fields.done()
    if generation != ledger.generation + 1:
        raise ClusterError(f"the ledger is in generation {ledger.generation}")
    return (
        replace(ledger, voters=voters, generation=generation),
        f"generation {generation} goes on with {len(voters)} voters",
    )


def _read_voters(ledger: Ledger, fields: wire.Fields) -> tuple[str, ...]:
    voters = fields.nodes("voters", most=MAX_VOTERS)
    if not voters or list(voters) != sorted(set(voters)):
        raise ClusterError(f"voters are 1 to {MAX_VOTERS} different members, in order")
    for node_id in voters:
        if node_id not in ledger.members:
            raise ClusterError(f"{node_id} is no member, so it cannot vote")
    return voters
