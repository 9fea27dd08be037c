# SPDX-License-Identifier: Apache-2.0
"""Status documents for tests: one of a healthy member of five, and any that there can be."""

from dataclasses import replace

from hypothesis import strategies as st

from agent.cluster import Phase, Policy, RaftStatus
from agent.identity import identity_of_seed
from agent.status.document import (
    CloneStatus,
    ClusterStatus,
    EventStatus,
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

IDENTITIES = sorted((identity_of_seed(bytes([n]) * 32) for n in range(8)), key=lambda who: who.node_id)
NODES = [identity.node_id for identity in IDENTITIES]
HOSTNAMES = [identity.hostname for identity in IDENTITIES]
GENESIS = "3f" * 32


def make_member(number: int) -> MemberStatus:
    """Return a living member; of the first three, which vote, the second leads."""
    return MemberStatus(
        node_id=NODES[number],
        hostname=HOSTNAMES[number],
        ipv4=f"10.77.0.{number + 1}",
        ipv6=f"fd00::{number + 1}",
        state="alive",
        voter=number < 3,
        leader=number == 1,
        state_age=100.0 * number,
    )


def make_status(**changes: object) -> NodeStatus:
    """Return the status of a healthy member of five, with these fields changed."""
    peers = tuple(
        MeshPeerStatus(node, f"192.0.2.{number}:51820", 10.0 + number, "up", 1000 * number, 2000 * number)
        for number, node in enumerate(NODES[1:5], 1)
    )
    status = NodeStatus(
        node_id=NODES[0],
        fingerprint=IDENTITIES[0].fingerprint,
        hostname=HOSTNAMES[0],
        phase=Phase.MEMBER,
        sentence="no change: member of 5, voter",
        published=1000.0,
        credential=True,
        addresses=("192.0.2.100",),
        cluster=ClusterStatus("lab", "a" * 26, GENESIS, 0, Policy.AUTO, 5),
        mesh=MeshStatus("mesh0", "10.77.0.1", "fd00::1", 1420, 51820, peers),
        members=tuple(make_member(number) for number in range(5)),
        raft=RaftStatus("follower", NODES[1], 3, 77, tuple(NODES[:3]), tuple(NODES[1:3]), True),
        leases=(LeaseStatus("coordinator", NODES[1], 4), LeaseStatus("archive", None, 0)),
        roles=(
            RoleStatus("archive", "leader", "elsewhere", "nobody has it"),
            RoleStatus("names", "every", "running", "", {"names": 5}),
        ),
        secrets={"gossip": 2, "raft": 1},
        tick=TickStatus(12, 0.004, 0.006),
        clock_synchronised=True,
    )
    return replace(status, **changes)  # type: ignore[arg-type]


PENDING = PendingStatus(NODES[6], IDENTITIES[6].fingerprint, "0123456789ab", "the policy is approve")
CLONE = CloneStatus(NODES[2], "ba9876543210", "192.0.2.66")
FOREIGN = ForeignStatus("ee" * 32, (NODES[7],))

_TEXT = st.text(max_size=40)
_NODE = st.sampled_from(NODES)
_COUNT = st.integers(0, (1 << 63) - 1)
_NUMBER = st.floats(-1e18, 1e18)


def any_status() -> st.SearchStrategy[NodeStatus]:
    """Return all status documents, also absurd ones; texts hold any character."""
    members = st.builds(
        MemberStatus,
        node_id=_NODE,
        hostname=_TEXT,
        ipv4=_TEXT,
        ipv6=_TEXT,
        state=st.sampled_from(["alive", "dead", "unknown"]),
        voter=st.booleans(),
        leader=st.booleans(),
        state_age=st.none() | _NUMBER,
    )
    peers = st.builds(
        MeshPeerStatus,
        node_id=_NODE,
        endpoint=st.none() | _TEXT,
        handshake_age=st.none() | _NUMBER,
        state=st.sampled_from(["up", "down", "unknown"]),
        received=_COUNT,
        sent=_COUNT,
    )
    nodes = st.lists(_NODE, max_size=3).map(tuple)
    return st.builds(
        make_status,
        node_id=_NODE,
        hostname=_TEXT,
        sentence=_TEXT,
        error=st.none() | _TEXT,
        phase=st.sampled_from(Phase),
        published=_NUMBER,
        credential=st.booleans(),
        addresses=st.lists(_TEXT, max_size=3).map(tuple),
        cluster=st.none()
        | st.builds(
            ClusterStatus,
            name=_TEXT,
            cluster_id=_TEXT,
            genesis=st.none() | st.just(GENESIS),
            generation=_COUNT,
            policy=st.sampled_from(Policy),
            machines=_COUNT,
        ),
        mesh=st.none()
        | st.builds(
            MeshStatus,
            interface=_TEXT,
            ipv4=_TEXT,
            ipv6=_TEXT,
            mtu=_COUNT,
            port=st.integers(0, 65535),
            peers=st.lists(peers, max_size=4).map(tuple),
        ),
        members=st.lists(members, max_size=40).map(tuple),
        pending=st.lists(st.builds(PendingStatus, _NODE, _TEXT, _TEXT, _TEXT), max_size=3).map(tuple),
        removed=nodes,
        clones=st.lists(st.builds(CloneStatus, _NODE, _TEXT, _TEXT), max_size=2).map(tuple),
        foreign=st.lists(st.builds(ForeignStatus, st.just(GENESIS), nodes), max_size=2).map(tuple),
        warnings=st.lists(_TEXT, max_size=3).map(tuple),
        roles=st.lists(
            st.builds(
                RoleStatus,
                _TEXT,
                st.sampled_from(["leader", "every"]),
                st.sampled_from(["running", "waiting", "failed", "unfit"]),
                _TEXT,
                st.dictionaries(_TEXT, _COUNT, max_size=3),
            ),
            max_size=3,
        ).map(tuple),
        events=st.lists(
            st.builds(EventStatus, _NUMBER, st.sampled_from(["node", "member", "raft", "lease"]), _TEXT),
            max_size=3,
        ).map(tuple),
        raft=st.builds(
            RaftStatus,
            role=st.sampled_from(["leader", "follower", "candidate", "observer", "off"]),
            leader=st.none() | _NODE,
            term=_COUNT,
            commit_index=_COUNT,
            voters=nodes,
            connected=nodes,
            ready=st.booleans(),
        ),
        leases=st.lists(
            st.builds(LeaseStatus, _TEXT, st.none() | _NODE, _COUNT, st.none() | _NUMBER), max_size=3
        ).map(tuple),
        secrets=st.dictionaries(_TEXT, _COUNT, max_size=3),
        clock_synchronised=st.none() | st.booleans(),
    )
