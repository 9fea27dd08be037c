# SPDX-License-Identifier: Apache-2.0
"""Put together the status document from what the loop knows. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.cluster import Credential, Genesis, Ledger, Peer, Phase, RaftStatus
from agent.discovery.clones import find_clones
from agent.discovery.tags import Stranger
from agent.identity import identity_of_node_id
from agent.membership.addresses import mesh_ipv6
from agent.mesh.health import assess
from agent.service.membership import Membership
from agent.service.meshing import MeshView
from agent.status.document import (
    CloneStatus,
    ClusterStatus,
    ForeignStatus,
    LeaseStatus,
    MemberStatus,
    MeshPeerStatus,
    MeshStatus,
    NodeStatus,
    PendingStatus,
    RoleStatus,
    TickStatus,
)

MOST_STRANGERS = 3


@dataclass(frozen=True)
class Knowledge:
    """What there is to tell, apart from ledger and mesh."""

    me: str
    phase: Phase
    sentence: str
    error: str
    credential: Credential | None = field(repr=False)
    addresses: tuple[str, ...]
    peers: tuple[Peer, ...]
    waiting: tuple[PendingStatus, ...]
    raft: RaftStatus
    clock_synchronised: bool | None
    tick: TickStatus
    strangers: tuple[Stranger, ...]
    roles: tuple[RoleStatus, ...]
    held: Mapping[str, float]  # seconds that are left of the leases of this node
    interface: str
    wireguard_port: int


def compose(known: Knowledge, membership: Membership | None, mesh: MeshView, now: float) -> NodeStatus:
    """Return the status document; `now` is monotonic."""
    identity = identity_of_node_id(known.me)
    ledger = membership.ledger if membership else None
    genesis = membership.genesis if membership else None
    return NodeStatus(
        node_id=known.me,
        fingerprint=identity.fingerprint,
        hostname=identity.hostname,
        phase=known.phase,
        sentence=known.sentence,
        published=now,
        error=known.error or None,
        credential=known.credential is not None,
        addresses=known.addresses,
        cluster=_cluster(known.credential, genesis, ledger),
        mesh=_mesh(known, membership, mesh, now),
        members=_members(known, membership, now),
        pending=_pending(known, membership),
        removed=tuple(sorted(ledger.removed)) if ledger else (),
        clones=_clones(known.peers, ledger),
        foreign=_foreign(known, membership),
        warnings=(*_strangers(known.strangers), *mesh.warnings),
        raft=known.raft,
        leases=_leases(ledger, known.held),
        roles=known.roles,
        secrets={name: secret.version for name, secret in ledger.secrets.items()} if ledger else {},
        tick=known.tick,
        clock_synchronised=known.clock_synchronised,
    )


def _cluster(
    credential: Credential | None, genesis: Genesis | None, ledger: Ledger | None
) -> ClusterStatus | None:
    if genesis is not None and ledger is not None:
        return ClusterStatus(
            genesis.name,
            genesis.cluster_id,
            ledger.genesis,
            ledger.generation,
            ledger.policy,
            genesis.machines,
        )
    if credential is None:
        return None
    return ClusterStatus(
        credential.name, credential.cluster_id, None, 0, credential.policy, credential.machines
    )


def _mesh(known: Knowledge, membership: Membership | None, mesh: MeshView, now: float) -> MeshStatus | None:
    if membership is None or mesh.settings is None:
        return None
    members = membership.ledger.members.values()
    health = assess(members, known.me, mesh.peers, mesh.sessions, now)
    return MeshStatus(
        interface=known.interface,
        ipv4=mesh.settings.ipv4,
        ipv6=mesh.settings.ipv6,
        mtu=mesh.settings.mtu,
        port=known.wireguard_port,
        peers=tuple(
            MeshPeerStatus(
                node_id=peer.node_id,
                endpoint=_endpoint(peer.endpoint),
                handshake_age=peer.age,
                state=peer.state.value,
                received=peer.received,
                sent=peer.sent,
            )
            for peer in health.peers
        ),
    )


def _members(known: Knowledge, membership: Membership | None, now: float) -> tuple[MemberStatus, ...]:
    if membership is None:
        return ()
    ledger, cluster_id = membership.ledger, membership.genesis.cluster_id
    seen = {(peer.node_id, peer.hardware): peer for peer in known.peers}
    found = []
    for node_id, member in sorted(ledger.members.items()):
        peer = seen.get((node_id, member.hardware))
        me = node_id == known.me
        alive = me or (peer is not None and peer.alive)
        found.append(
            MemberStatus(
                node_id=node_id,
                hostname=identity_of_node_id(node_id).hostname,
                ipv4=member.ipv4,
                ipv6=str(mesh_ipv6(cluster_id, node_id)),
                state="alive" if alive else "dead" if peer is not None else "unknown",
                voter=node_id in ledger.voters,
                leader=known.raft.leader == node_id,
                state_age=max(0.0, now - peer.seen) if peer is not None and not me else None,
            )
        )
    return tuple(found)


def _strangers(strangers: tuple[Stranger, ...]) -> list[str]:
    """Say who has the gossip key and is no node; what they call themselves is not repeated."""
    shown = [
        f"the member of the gossip at {stranger.address} {stranger.reason.value}: it is kept out"
        for stranger in strangers[:MOST_STRANGERS]
    ]
    return [*shown, *(["and more of the kind"] if len(strangers) > MOST_STRANGERS else [])]


def _clones(peers: Iterable[Peer], ledger: Ledger | None) -> tuple[CloneStatus, ...]:
    """Return the machines that show a member's key from other hardware, or two that show one key."""
    found = {}
    members = ledger.members if ledger else {}
    twice = {clone.node_id for clone in find_clones(peers)}
    for peer in peers:
        member = members.get(peer.node_id)
        if peer.alive and (
            (member is not None and member.hardware != peer.hardware)
            or (member is None and peer.node_id in twice)
        ):
            found[peer.name] = CloneStatus(peer.node_id, peer.hardware, peer.address)
    return tuple(found[name] for name in sorted(found))


def _foreign(known: Knowledge, membership: Membership | None) -> tuple[ForeignStatus, ...]:
    """Return the other geneses that are seen; where this node follows none, all of several."""
    nodes: dict[str, list[str]] = {}
    for peer in known.peers:
        if peer.alive and peer.genesis and peer.genesis != (membership.hash if membership else None):
            nodes.setdefault(peer.genesis, []).append(peer.node_id)
    if membership is None and len(nodes) < 2:
        return ()
    return tuple(ForeignStatus(genesis, tuple(sorted(nodes[genesis]))) for genesis in sorted(nodes))


def _pending(known: Knowledge, membership: Membership | None) -> tuple[PendingStatus, ...]:
    """Return who waits for an operator: who asked this node, and those of whom gossip says so.

    Not a copy of a member that is there: that is named as a clone, and has the fingerprint of its original.
    """
    members = membership.ledger.members if membership else {}
    there = {
        peer.node_id
        for peer in known.peers
        if peer.alive and peer.node_id in members and members[peer.node_id].hardware == peer.hardware
    }
    found = {entry.node_id: entry for entry in known.waiting if entry.node_id not in there}
    for peer in known.peers:
        if membership is not None and peer.alive and peer.phase == Phase.PENDING.value:
            fingerprint = identity_of_node_id(peer.node_id).fingerprint
            entry = PendingStatus(peer.node_id, fingerprint, peer.hardware, "it waits for an operator")
            found.setdefault(peer.node_id, entry)
    return tuple(found[node_id] for node_id in sorted(found))


def _leases(ledger: Ledger | None, held: Mapping[str, float]) -> tuple[LeaseStatus, ...]:
    leases = ledger.leases.values() if ledger else ()
    return tuple(
        LeaseStatus(lease.role, lease.holder, lease.epoch, held.get(lease.role))
        for lease in sorted(leases, key=lambda lease: lease.role)
    )


def _endpoint(endpoint: tuple[str, int] | None) -> str | None:
    if endpoint is None:
        return None
    address, port = endpoint
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
