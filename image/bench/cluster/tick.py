# SPDX-License-Identifier: Apache-2.0
"""Measure the pure part of one tick, from what Serf and WireGuard say to what is to be done.

`tick.py MEMBERS RUNS` prints the seconds of each tick as JSON, of the processor: the pure part waits for
nothing, so on an idle machine they are those of a clock. A program of its own that needs only the
agent: it runs on the Python and the packages of a node. What it calls, in the order of the loop, is what
agent/service/daemon.py calls; all that asks the system, writes a file or talks to others is left out.

The node looks at the most there is to look at: it leads Raft and holds the lease, all members are alive.
"""

import gc
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from agent.cluster import Genesis, Lease, Ledger, Member, MeshPeer, Phase, Policy, RaftStatus, Secret
from agent.discovery.roster import Roster, read_roster
from agent.discovery.serf_records import read_members
from agent.discovery.tags import Announcement, encode, name_node
from agent.election import leases, voters
from agent.identity import identity_of_seed
from agent.membership.addresses import assign_ipv4, mesh_ipv6
from agent.membership.secrets import ADMISSION, GOSSIP, RAFT, NodeSecrets
from agent.mesh import plan
from agent.mesh.link_plan import LinkSettings
from agent.mesh.sessions import follow_sessions
from agent.roles.candidates import COORDINATOR, list_candidates
from agent.service.contacts import Contacts
from agent.service.duties import list_duties
from agent.service.membership import Membership
from agent.service.meshing import MeshView
from agent.service.phase import find_standing
from agent.service.publish import Knowledge, compose
from agent.status.document import NodeStatus, TickStatus
from agent.status.events import follow

HASH = "5a" * 32
CLUSTER_ID, RANGE = "abcdefghijklmnopqrstuvwxyz", "10.64.0.0/14"
VOTERS = 5
WARM_UP = 3
"""Ticks that do not count: the first one checks every signature."""


class World:
    """A cluster of so many members, as one of its nodes sees it."""

    def __init__(self, size: int, scratch: Path) -> None:
        seeds = {}
        for number in range(size):
            seed = hashlib.sha256(f"node {number}".encode()).digest()
            seeds[identity_of_seed(seed).node_id] = seed
        ids = list(seeds)
        self.me, voting = ids[0], tuple(sorted(ids[:VOTERS]))
        addresses = assign_ipv4(RANGE, ids)
        members = {
            node_id: Member(node_id, f"{number:012x}", addresses[node_id], None, number)
            for number, node_id in enumerate(ids)
        }
        self.hardware = members[self.me].hardware
        self.raft = RaftStatus("leader", self.me, 2, size, voting, voting, ready=True)
        self.membership = _make_membership(members, voting, self.me)
        self.network = plan.MeshNetwork(CLUSTER_ID, RANGE)
        self.gossip = {b"Members": [_announce(members[each], seeds[each], each in voting) for each in ids]}
        self.link = LinkSettings(
            addresses[self.me], RANGE, str(mesh_ipv6(CLUSTER_ID, self.me)), self.network.ranges[1], 1420
        )
        self.contacts = Contacts(scratch / f"contacts{size}.json")
        self.roster, self.view = Roster(), MeshView()
        self.seen: dict[str, leases.Seen] = {}
        self.observed: dict[str, MeshPeer] = {}
        self.status: NodeStatus | None = None

    def tick(self, now: float) -> int:
        """Do one tick; return how many things there are to do."""
        me, ledger = self.me, self.membership.ledger
        self.roster = read_roster(read_members(self.gossip), self.roster, now)
        peers = self.roster.peers
        standing = find_standing(
            me, self.hardware, credential=None, membership=self.membership, peers=peers, verdict=None
        )
        self.contacts.note(peers, self.view, ledger, now)
        sessions = follow_sessions(self.view.sessions, self.observed, now, time.time())
        wanted = plan.wanted_peers(
            self.network,
            tuple(ledger.members.values()),
            peers,
            me,
            observed=self.observed,
            sessions=sessions,
            now=now,
            known=self.contacts.endpoints,
        )
        changes = plan.diff(self.observed, wanted)
        self.view = MeshView(self.link, self.observed, sessions)
        self.seen = leases.watch(self.seen, ledger, now)
        duties = list_duties(me, ledger, leads=True)
        grants = leases.grants(ledger, self.seen, list_candidates(me, (), ledger, peers), now)
        presence = {
            peer.node_id: voters.Presence(peer.alive, peer.seen, peer.voter)
            for peer in peers
            if peer.node_id in ledger.members and ledger.members[peer.node_id].hardware == peer.hardware
        }
        votes = voters.plan_voters(ledger, self.raft, presence, me=me, now=now)
        known = Knowledge(
            me=me,
            phase=standing.phase,
            sentence="no change",
            error="",
            credential=None,
            addresses=("192.0.2.1",),
            peers=peers,
            waiting=(),
            raft=self.raft,
            clock_synchronised=True,
            tick=TickStatus(),
            strangers=(),
            held={},
            roles=(),
            interface="mesh0",
            wireguard_port=51820,
        )
        status = compose(known, self.membership, self.view, now)
        self.status = replace(status, events=follow(self.status, status))
        assert len(status.members) == len(ledger.members)
        # What was asked for is there at the next look.
        self.observed = {
            change.peer.public_key: change.peer for change in changes if isinstance(change, plan.SetPeer)
        } or self.observed
        return len(changes) + len(duties) + len(grants) + (votes.step is not None)


def measure(size: int, runs: int, scratch: Path) -> list[float]:
    """Return the seconds of `runs` ticks over `size` members of which nothing changes."""
    world = World(size, scratch)
    now = time.monotonic()
    for _ in range(WARM_UP):
        world.tick(now)
        handshake = int(time.time())
        world.observed = {
            key: MeshPeer(key, peer.allowed_ips, peer.endpoint, peer.keepalive, handshake)
            for key, peer in world.observed.items()
        }
    gc.collect()
    taken = []
    for _ in range(runs):
        before = time.process_time()
        to_do = world.tick(now)  # its clock stands still, or the lease would run out
        taken.append(time.process_time() - before)
        assert to_do == 0, "a world in which nothing changes has nothing to do"
    return taken


def _announce(member: Member, seed: bytes, votes: bool) -> dict[bytes, object]:
    """Return the member as Serf's RPC writes it."""
    name = name_node(member.node_id, member.hardware)
    tags = encode(Announcement(Phase.MEMBER, HASH, 51820, voter=votes), name, seed)
    return {
        b"Name": name.encode(),
        b"Addr": bytes([172, 16, member.number >> 8, member.number & 255]),
        b"Port": 7946,
        b"Status": b"alive",
        b"Tags": {key.encode(): value.encode() for key, value in tags.items()},
    }


def _make_membership(members: dict[str, Member], voting: tuple[str, ...], me: str) -> Membership:
    genesis = Genesis(
        cluster_id=CLUSTER_ID,
        name="bench",
        instance=bytes(16),
        machines=len(members),
        voters=VOTERS,
        policy=Policy.AUTO,
        allowlist_digest=bytes(32),
        ipv4_range=RANGE,
        operator_key=bytes(32),
        admission_key=bytes(32),
        founders=voting,
        hardware=tuple(members[voter].hardware for voter in voting),
        sealed=tuple(bytes(80) for _ in voting),
    )
    ledger = Ledger(
        genesis=HASH,
        revision=len(members),
        members=members,
        voters=voting,
        wanted_voters=VOTERS,
        leases={COORDINATOR: Lease(COORDINATOR, me, 1, 1)},
        secrets={
            ADMISSION: Secret(ADMISSION, 1, dict.fromkeys(voting, bytes(80))),
            GOSSIP: Secret(GOSSIP, 1, dict.fromkeys(members, bytes(80))),
            RAFT: Secret(RAFT, 1, dict.fromkeys(members, bytes(92))),
        },
    )
    secrets = NodeSecrets(HASH, 1, bytes(32), "password", bytes(32))
    return Membership(b"", genesis, ledger, secrets)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), Path(folder))))
