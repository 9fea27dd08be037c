# SPDX-License-Identifier: Apache-2.0
"""Where this node stands, from what it has and what it sees. Pure.

What it has on its disk comes before what it sees: a member stays one whatever gossip says, and a node that
sees a cluster joins it and founds none.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.cluster import Credential, Peer, Phase
from agent.formation.plan import takes_part
from agent.service.membership import Membership


@dataclass(frozen=True)
class Standing:
    """The phase of a node, and why, in words for a person."""

    phase: Phase
    reason: str
    seeks: bool = False  # it asks voters to be admitted


@dataclass(frozen=True)
class Verdict:
    """The last word of a voter on this node's request to be a member."""

    state: str  # pending, refused or removed; quarantined: other hardware than was admitted
    reason: str


_PHASES = {"pending": Phase.PENDING, "removed": Phase.REMOVED, "quarantined": Phase.QUARANTINED}


def find_standing(
    me: str,
    hardware: str,
    *,
    credential: Credential | None,
    membership: Membership | None,
    peers: Iterable[Peer],
    verdict: Verdict | None,
    damage: str = "",
) -> Standing:
    """Return where the node `me` on `hardware` stands.

    `damage` says what is wrong with the files of its membership: then it does nothing until they are right,
    as it may be a member already.
    """
    if membership is not None:
        return _of_member(me, hardware, membership)
    if damage:
        return Standing(
            Phase.WAITING, f"{damage}; it was left as it is, and this node does nothing until then"
        )
    if credential is None:
        return Standing(Phase.WAITING, "it has no join credential (systemd credential cluster-os.join)")
    geneses = find_geneses(me, peers)
    if len(geneses) > 1:
        return Standing(
            Phase.JOINING,
            f"there are {len(geneses)} clusters with this credential "
            f"({', '.join(genesis[:8] for genesis in geneses)}): it joins none; switch off all but one",
            seeks=True,
        )
    if geneses:
        if verdict is None:
            return Standing(Phase.JOINING, f"it joins cluster {geneses[0][:8]}", seeks=True)
        # A voter's word may change, so whatever it was, the node goes on asking.
        return Standing(_PHASES.get(verdict.state, Phase.JOINING), verdict.reason, seeks=True)
    if takes_part(credential, me):
        return Standing(Phase.FORMING, "it looks for others to form a cluster")
    return Standing(Phase.JOINING, "it looks for a cluster to join", seeks=True)


def find_geneses(me: str, peers: Iterable[Peer]) -> tuple[str, ...]:
    """Return the hashes of the geneses that living nodes other than `me` follow, sorted."""
    return tuple(
        sorted({peer.genesis for peer in peers if peer.alive and peer.genesis and peer.node_id != me})
    )


def _of_member(me: str, hardware: str, membership: Membership) -> Standing:
    ledger = membership.ledger
    if me in ledger.removed:
        return Standing(
            Phase.REMOVED, "an operator removed it, which is final; wipe /var to make it a new node"
        )
    member = ledger.members.get(me)
    if member is not None and member.hardware != hardware:
        return Standing(
            Phase.QUARANTINED,
            "its key is that of a member on other hardware: a copied disk, or a new board; if the board is "
            f"new, run on a member: node-agent approve {me}",
            seeks=True,
        )
    return Standing(Phase.MEMBER, "it is a member")
