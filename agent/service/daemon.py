# SPDX-License-Identifier: Apache-2.0
"""The loop: takes messages, looks at everything, decides, acts, says in one sentence what it did.

All state of the daemon is here and in the objects that it holds; other threads only put messages into the
inbox. A tick that fails tells why and is tried again: nothing that network or disk do ends the loop.
"""

import logging
import os
import time
from collections.abc import Callable
from functools import partial

from agent.cluster import Credential, Phase
from agent.config import Config, read_config
from agent.discovery.serf_records import QueryAnswer, QueryReceived
from agent.discovery.tags import Announcement, name_node
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.mesh.plan import MeshNetwork
from agent.roles.composition import list_addresses
from agent.roles.role_file import find_folder, read_roles
from agent.service import farewell
from agent.service.consensus import Answer, Consensus, Mode
from agent.service.contacts import Contacts
from agent.service.entering import Entering
from agent.service.faults import Faults
from agent.service.following import Following
from agent.service.forming import QUERY as FORM
from agent.service.gossip import Announced, Gossip
from agent.service.handover import Handover
from agent.service.inbox import Inbox
from agent.service.leader import Leader
from agent.service.leaving import Leaving
from agent.service.membership import Membership
from agent.service.meshing import Meshing
from agent.service.operator import Operator
from agent.service.ordering import Ordering
from agent.service.phase import Standing, find_standing
from agent.service.place import Place
from agent.service.removing import Removing
from agent.service.requests import Request
from agent.service.telling import Telling
from agent.service.users import Users
from agent.service.welcome import Welcome
from agent.status.document import NodeStatus

QUICK = 0.25
"""Seconds between two looks while the node is not a member yet."""
CALM = 1.0
"""Seconds between two looks of a member, which is woken by what happens anyhow."""


class Daemon:
    """One node. `run` works until `stop` is called; `read_credential` is tried until it raises nothing."""

    def __init__(
        self, place: Place, config: Config, handed: Handover, read_credential: Callable[[], Credential | None]
    ) -> None:
        self.place, self.config, self.seed, self.hardware = place, config, handed.seed, handed.hardware
        self.me = identity_of_seed(handed.seed).node_id
        self.inbox = Inbox()
        self.faults = Faults()
        name = name_node(self.me, handed.hardware)
        self.gossip = Gossip(config, name, handed.seed, place.serf, self.inbox)
        self.meshing = Meshing(config.networking, handed.seed)
        self.consensus = Consensus(place, config.election, self.inbox)
        self.contacts = Contacts(place.contacts)
        self.following = Following(place, handed.seed, self.me, self.gossip, self.inbox.wake)
        self.entering = Entering(
            place,
            handed,
            self.me,
            gossip=self.gossip,
            consensus=self.consensus,
            following=self.following,
            faults=self.faults,
        )
        self.welcome = Welcome(handed.seed, self.me)
        roles = read_roles(find_folder(os.environ))
        self.leader = Leader(handed.seed, self.me, config.election, roles)
        self.ordering = Ordering(
            roles,
            config.roles.labels,
            handed.seed,
            self.me,
            self.inbox.wake,
            path=place.supervisor,
            interface=config.networking.interface,
        )
        self.leader.roles = self.ordering.leading
        self.users = Users()
        self.removing = Removing(self.me, self.consensus)
        self.operator = Operator(self)
        self.leaving = Leaving(lambda: self.operator.leave(Request({"request": "leave"})))
        self.telling = Telling(self)
        self.standing = Standing(Phase.WAITING, "it has just started")
        self.status: NodeStatus | None = None
        self._read_credential: Callable[[], Credential | None] | None = read_credential
        self._stopped = False

    @property
    def membership(self) -> Membership | None:
        """What this node belongs to."""
        return self.following.membership

    @property
    def credential(self) -> Credential | None:
        """The join credential."""
        return self.entering.credential

    @property
    def damage(self) -> str:
        """What is wrong with the files of this node's membership; empty: they were read."""
        return "" if self.following.read else self.faults.of("state")

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler."""
        self._stopped = True
        self.inbox.wake()

    def take_credential(self, credential: Credential | None) -> None:
        """Begin anew with another credential."""
        self.entering.take_credential(credential)
        self._read_credential = None
        self.faults.forget(["credential"])
        self.inbox.wake()

    def reload(self) -> None:
        """Read the configuration anew; ClusterError, and the old one stays, when it is wrong.

        What is bound to a port or an interface follows at the next start of the agent.
        """
        self.config = read_config(self.place.state, os.environ)
        logging.getLogger().setLevel(self.config.log.level.upper())

    def run(self, each_tick: Callable[[NodeStatus], None]) -> None:
        """Work until stopped; `each_tick` is called after every good tick."""
        next_tick = time.monotonic()
        while not self._stopped:
            for message in self.inbox.take(next_tick):
                self.faults.guard("message", partial(self._handle, message))
            began = time.monotonic()
            self.status = self._tick(began)
            self.telling.measure(began)
            each_tick(self.status)
            next_tick = self._next_tick(began)
        self.close()

    def close(self) -> None:
        """Let go of everything; the node stays what it is."""
        self.consensus.stop()
        self.gossip.close()
        self.meshing.close()

    def _handle(self, message: object) -> None:
        now = time.monotonic()
        if isinstance(message, Request):
            self.operator.answer(message)
        elif isinstance(message, Answer):
            message.tell()
        elif isinstance(message, Announced):
            self.gossip.add_candidates(message, now)
        elif isinstance(message, QueryReceived):
            self._hear_query(message, now)
        elif isinstance(message, QueryAnswer):
            self.entering.hear_answer(message, now)

    def _hear_query(self, query: QueryReceived, now: float) -> None:
        if query.name == FORM:
            self.entering.hear_query(query, now)
        elif query.name == farewell.QUERY:
            self.following.hear_farewell(query.payload)
        else:
            answer = self.welcome.hear(query, self.membership, self.consensus, self.credential, now)
            if answer is not None:
                self.gossip.answer(query, answer)

    def _tick(self, now: float) -> NodeStatus:
        """Look, decide, act; each part by itself, so that one that fails does not stop the others."""
        done: list[str] = []
        guard = self.faults.guard
        # What is damaged is looked at again: somebody may put it right.
        if (read := self._read_credential) is not None:
            guard("credential", lambda: self.take_credential(read()))
        if not self.following.read:
            guard("state", self.following.load)
        guard("gossip", lambda: self.gossip.poll(now))
        guard("ledger", lambda: self.following.follow(self.consensus.applied))
        before, self.standing = self.standing, self._find_standing()
        if self.standing.phase is not before.phase:
            self.faults.forget(
                ["forming", "joining", "admission", "mesh", "contacts", "raft", "duties", "users", "roles"]
            )
        membership, peers = self.membership, self.gossip.peers
        if membership is not None and self.standing.phase is Phase.MEMBER:
            guard("mesh", lambda: done.append(self._keep_mesh(membership, now)))
            guard("raft", lambda: done.append(self._keep_raft(membership, now)))
            guard("duties", lambda: done.append(self.leader.tick(membership, self.consensus, peers, now)))
            guard("users", lambda: done.append(self._begin_users(membership, now)))
            guard("roles", lambda: done.append(self._order(membership, now)))
            guard("leaving", lambda: done.append(self.leaving.look(self.ordering.working, now)))
        elif self.standing.phase in (Phase.REMOVED, Phase.QUARANTINED):
            guard("mesh", lambda: self._withdraw(now))
        if membership is not None:
            guard("removals", lambda: self.removing.look(membership, peers, now))
        self.entering.tick(self.standing, now)
        guard("discovery", lambda: self._discover(now))
        return self.telling.publish(now, ", ".join(part for part in done if part))

    def _find_standing(self) -> Standing:
        return find_standing(
            self.me,
            self.hardware,
            credential=self.credential,
            membership=self.membership,
            peers=self.gossip.peers,
            verdict=self.entering.verdict,
            damage=self.damage,
        )

    def _keep_mesh(self, membership: Membership, now: float) -> str:
        genesis, ledger = membership.genesis, membership.ledger
        # By itself: the mesh must not wait for a full disk.
        self.faults.guard(
            "contacts", lambda: self.contacts.note(self.gossip.peers, self.meshing.view, ledger, now)
        )
        return self.meshing.keep(
            MeshNetwork(genesis.cluster_id, genesis.ipv4_range),
            tuple(ledger.members.values()),
            self.gossip.peers,
            ledger.members[self.me],
            known=self.contacts.endpoints,
            roles=list_addresses(genesis.cluster_id, ledger, self.me, self.leader.holding.acting),
            now=now,
        )

    def _order(self, membership: Membership, now: float) -> str:
        servers = self.leader.servers
        try:
            return self.ordering.keep(
                membership,
                self.leader.holding.held,
                self.users.open(membership).values(),
                now,
                member=True,
                leaving=self.leaving.begun,
                coming=servers.coming,
                fresh=self.consensus.status.ready,
            )
        finally:
            servers.report = self.ordering.report

    def _begin_users(self, membership: Membership, now: float) -> str:
        return self.users.begin(membership, self.credential, self.consensus, self.me, now)

    def _keep_raft(self, membership: Membership, now: float) -> str:
        said = self.consensus.keep(membership, self.me, self.gossip.peers, now)
        if self.consensus.error:
            raise ClusterError(self.consensus.error)
        return said

    def _withdraw(self, now: float) -> None:
        """Leave mesh and Raft to the others."""
        self.leader.holding.end()
        if self.membership is not None:
            membership = self.membership
            self.faults.guard("roles", lambda: self.ordering.keep(membership, (), (), now, member=False))
        self.consensus.stop()
        self.meshing.take_down()

    def _discover(self, now: float) -> None:
        """Have gossip run and say where this node stands."""
        credential, membership = self.credential, self.membership
        removed = membership is not None and self.standing.phase is Phase.REMOVED
        if removed or (membership is None and (credential is None or self.damage)):
            return
        self.gossip.open(
            credential,
            self.following.gossip_key(credential, now),
            Announcement(
                phase=self.standing.phase,
                genesis=membership.hash if membership else None,
                wireguard_port=self.config.networking.listen_port,
                addresses=self.gossip.addresses[1:4],
                voter=self.consensus.mode in (Mode.VOTER, Mode.FRESH),
                roles=self.leader.roles,
            ),
        )
        port = self.config.discovery.bind_port
        self.gossip.add_candidates(Announced(self.contacts.take_back(port), news=True), now)
        self.gossip.join(now, self.contacts.gossip_addresses(port))
        if self.gossip.error:
            raise ClusterError(self.gossip.error)

    def _next_tick(self, began: float) -> float:
        """Return when to look again, after a tick that began at `began` (monotonic)."""
        if self.standing.phase in (Phase.FORMING, Phase.JOINING):
            return min(began + QUICK, self.gossip.look_at)
        # Looking at a thousand members takes a while; what is urgent wakes the loop by itself.
        calm = began + max(CALM, len(self.gossip.peers) / 100)
        return min(calm, self.gossip.look_at, self.leader.look_at(self.consensus, time.monotonic()))
