# SPDX-License-Identifier: Apache-2.0
"""Give up a lost quorum on a voter that survived: it goes on alone, and the lost voters are removed for good.

Never by itself: a majority that is only out of sight may go on without this node, and then there are two. The
operator is shown first who is dropped. A dropped voter that comes back is no peer of the mesh any more, so
its log counts nowhere here.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.cluster import Ledger, Peer
from agent.election import storage
from agent.election.address import join
from agent.errors import ClusterError
from agent.membership import commands, ledger_file
from agent.membership import ledger as ledgers
from agent.service.requests import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.cluster import Genesis
    from agent.service.daemon import Daemon


@dataclass(frozen=True)
class RecoveryPlan:
    """Who stays and who is dropped; node IDs, sorted."""

    keep: tuple[str, ...]
    drop: tuple[str, ...]


def plan_recovery(me: str, ledger: Ledger, peers: "Iterable[Peer]") -> RecoveryPlan:
    """Return what a recovery on node `me` would do: voters that nobody sees are dropped. Pure.

    Raises ClusterError when this node cannot, or need not, go on alone.
    """
    if me not in ledger.voters:
        raise ClusterError(
            "this node has no vote, and so not what it takes to admit others",
            hint="run it on a voter that survived; see: node-agent members",
        )
    alive = {peer.node_id for peer in peers if peer.alive} | {me}
    drop = tuple(sorted(voter for voter in ledger.voters if voter not in alive))
    if 2 * len(drop) < len(ledger.voters):
        raise ClusterError(
            f"a majority of the voters is there ({len(ledger.voters) - len(drop)} of {len(ledger.voters)})",
            hint="nothing is lost: wait until they have elected a leader; see: node-agent leaders",
        )
    return RecoveryPlan(tuple(sorted(ledger.members.keys() - set(drop))), drop)


def apply_recovery(plan: RecoveryPlan, me: str, ledger: Ledger, genesis: "Genesis") -> Ledger:
    """Return the ledger with which this node goes on. Pure."""
    orders = [commands.recover(ledger.generation + 1, [me]), *(commands.remove(node) for node in plan.drop)]
    for order in orders:
        ledger, result = ledgers.reduce(ledger, order, genesis)
        if not result.applied:
            raise ClusterError(f"cannot recover: {result.reason}")
    return ledger


def recover(daemon: "Daemon", request: Request) -> None:
    """Show the plan, or do it where the operator confirmed just this one."""
    membership = daemon.membership
    if membership is None:
        raise ClusterError("this node is no member of a cluster", hint="see: node-agent status")
    if daemon.consensus.status.leader is not None:
        raise ClusterError("the cluster has a leader", hint="nothing is lost; see: node-agent leaders")
    plan = plan_recovery(daemon.me, membership.ledger, daemon.gossip.peers)
    sentence = f"goes on with this node as the only voter, and drops {len(plan.drop)} voters for good"
    if not request.content["confirm"]:
        request.answer({"sentence": sentence, "keep": list(plan.keep), "drop": list(plan.drop)})
        return
    if list(plan.drop) != request.content["drop"]:
        raise ClusterError("the plan has changed since it was shown", hint="look again: node-agent recover")
    ledger = apply_recovery(plan, daemon.me, membership.ledger, membership.genesis)
    daemon.consensus.stop()
    address = join(ledger.members[daemon.me].ipv4, daemon.config.election.port)
    storage.recover(daemon.place.raft, ledger_file.encode_ledger(ledger), address)
    daemon.following.take(ledger)
    request.say(sentence)
