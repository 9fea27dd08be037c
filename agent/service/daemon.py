# SPDX-License-Identifier: Apache-2.0
"""The loop: takes messages, looks at everything, decides, acts, says in one sentence what it did.

All state of the daemon is here and in the objects that it holds; other threads only put messages into the
inbox. A tick that fails tells why and is tried again: nothing that network or disk do ends the loop.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Collection
from functools import partial

from agent.cluster import Credential, Ledger, Phase
from agent.config import Config, read_config
from agent.control.runtime import Runtime
from agent.discovery.serf_records import QueryAnswer, QueryReceived
from agent.discovery.tags import Announcement, name_node
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.membership import commands
from agent.membership import ledger as ledgers
from agent.membership.admission_blob import Admission
from agent.mesh.plan import MeshNetwork
from agent.service import farewell, publish
from agent.service import membership as memberships
from agent.service.clock import is_clock_synchronised
from agent.service.consensus import Answer, Consensus, Mode
from agent.service.contacts import Contacts
from agent.service.forming import QUERY as FORM
from agent.service.forming import Forming
from agent.service.gossip import Announced, Gossip
from agent.service.handover import Handover
from agent.service.inbox import Inbox
from agent.service.leader import Leader
from agent.service.membership import Membership
from agent.service.meshing import Meshing
from agent.service.operator import Operator
from agent.service.phase import Standing, find_standing
from agent.service.place import Place
from agent.service.requests import Request
from agent.service.seeking import Seeking, membership_of
from agent.service.welcome import Welcome
from agent.status import published
from agent.status.document import NodeStatus, TickStatus

QUICK = 0.25
"""Seconds between two looks while the node is not a member yet."""
CALM = 1.0
"""Seconds between two looks of a member, which is woken by what happens anyhow."""
_log = logging.getLogger("agent")


class Daemon:
    """One node. `run` works until `stop` is called."""

    def __init__(
        self, place: Place, config: Config, handed: Handover, read_credential: Callable[[], Credential | None]
    ) -> None:
        self.place, self.config, self.seed, self.hardware = place, config, handed.seed, handed.hardware
        self.me = identity_of_seed(handed.seed).node_id
        self.credential: Credential | None = None
        self.inbox = Inbox()
        self.membership: Membership | None = None
        self._to_read: dict[str, Callable[[], None]] = {
            "credential": lambda: self.take_credential(read_credential()),
            "state": self._load,
        }
        name = name_node(self.me, handed.hardware)
        self.gossip = Gossip(config, name, handed.seed, place.serf, self.inbox)
        self.meshing = Meshing(config.networking, handed.seed)
        self.consensus = Consensus(place, config.election, self.inbox)
        self.contacts = Contacts(place.contacts)
        self.seeking = Seeking(handed.seed, self.me, handed.hardware)
        self.welcome = Welcome(handed.seed, self.me)
        self.leader = Leader(self.me, config.election)
        self.operator = Operator(self)
        self.forming: Forming | None = None
        self.standing = Standing(Phase.WAITING, "it has just started")
        self.status: NodeStatus | None = None
        self._former_key = b"", 0.0  # the gossip key that is kept for a moment, and until when
        self._ticks: deque[float] = deque(maxlen=256)
        self._count = 0
        self._errors: dict[str, str] = {}
        self._said = ""
        self._stopped = False

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler."""
        self._stopped = True
        self.inbox.wake()

    def take_credential(self, credential: Credential | None) -> None:
        """Begin anew with another credential."""
        self.credential, self.forming = credential, None
        self._to_read.pop("credential", None)
        self._errors.pop("credential", None)
        self.inbox.wake()

    @property
    def damage(self) -> str:
        """What is wrong with the files of this node's membership; empty: they were read."""
        return self._errors.get("state", "") if "state" in self._to_read else ""

    def _load(self) -> None:
        self.membership = memberships.load(self.place, self.seed)
        self._to_read.pop("state")

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
                self._guard("message", partial(self._handle, message))
            began = time.monotonic()
            self._tick(began)
            took = time.monotonic() - began
            self._ticks.append(took)
            self._count += 1
            assert self.status is not None
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
            self._hear_answer(message, now)

    def _hear_query(self, query: QueryReceived, now: float) -> None:
        if query.name == FORM:
            if self.forming is not None:
                self._found(self.forming.hear(query, self.gossip, now))
            return
        if query.name == farewell.QUERY:
            if self.membership is not None:
                farewell.check(query.payload, self.membership, self.me)
                self.take_removal()
            return
        answer = self.welcome.hear(query, self.membership, self.consensus, self.credential, now)
        if answer is not None:
            self.gossip.answer(query, answer)

    def _hear_answer(self, answer: QueryAnswer, now: float) -> None:
        if self.seeking.expects(answer.query):
            admission = self.seeking.hear(answer, self.credential, self.gossip, now)
            if admission is not None:
                self._guard("admission", lambda: self._accept(admission))
        elif self.forming is not None:
            self._found(self.forming.hear(answer, self.gossip, now))

    def _tick(self, now: float) -> None:
        """Look, decide, act; each part by itself, so that one that fails does not stop the others."""
        done: list[str] = []
        # What is damaged is looked at again: somebody may put it right.
        for part, read in list(self._to_read.items()):
            self._guard(part, read)
        self._guard("gossip", lambda: self.gossip.poll(now))
        self._guard("ledger", self._follow_ledger)
        self.standing = find_standing(
            self.me,
            self.hardware,
            credential=self.credential,
            membership=self.membership,
            peers=self.gossip.peers,
            verdict=self.seeking.verdict,
            damage=self.damage,
        )
        phase = self.standing.phase
        if phase is Phase.MEMBER:
            self._guard("mesh", lambda: done.append(self._keep_mesh(now)))
            self._guard("raft", lambda: done.append(self._keep_raft(now)))
            self._guard("duties", lambda: done.append(self._see_to_duties(now)))
        elif phase in (Phase.REMOVED, Phase.QUARANTINED):
            self._guard("mesh", self._withdraw)
        elif phase is Phase.FORMING:
            self._guard("forming", lambda: self._form(now))
        if self.standing.seeks:
            followed = self.membership.hash if self.membership else None
            self._guard("joining", lambda: self.seeking.tick(self.gossip, self.credential, followed, now))
        self._guard("discovery", lambda: self._discover(now))
        self._publish(now, ", ".join(part for part in done if part))

    def _form(self, now: float) -> None:
        self._found(self._open_forming().tick(self.gossip.peers, self.gossip, now))

    def _open_forming(self) -> Forming:
        """Return this node's part in forming, with what it has promised before."""
        assert self.credential is not None
        if self.forming is None:
            self.forming = Forming(self.place, self.credential, self.seed, self.hardware)
        return self.forming

    def _found(self, record: bytes | None) -> None:
        """Begin as a founder with a genesis record that was just decided."""
        if record is None or self.membership is not None or self.credential is None:
            return
        membership = memberships.found(record, self.credential, self.seed)
        self.consensus.found(membership.ledger, self.me)
        self._join(membership)

    def _accept(self, admission: Admission) -> None:
        """Begin as an admitted member.

        A founder whose word is in the genesis, and who did not hear that it was decided, still begins as one:
        it has acknowledged nothing since, so its empty log is a true one.
        """
        membership = membership_of(admission)
        begun = ledgers.begin(admission.genesis)
        if self.me in begun.voters and self.me in membership.ledger.voters and self._open_forming().voted:
            self.consensus.found(begun, self.me)
        self._join(membership)

    def _join(self, membership: Membership) -> None:
        """Become a member: first on the disk, then in fact."""
        memberships.save(self.place, membership, self.membership, self.seed)
        self.membership = membership
        self.inbox.wake()

    def _follow_ledger(self) -> None:
        applied = self.consensus.applied
        if self.membership is None or applied is None:
            return
        known, state = self.membership.ledger, applied.state
        # Who has just started goes through the states of old again.
        if state != known and (state.generation, state.revision) >= (known.generation, known.revision):
            self.take_ledger(state)

    def take_ledger(self, ledger: Ledger) -> None:
        """Go on with a newer ledger: first on the disk, then in fact."""
        assert self.membership is not None
        before = self.membership
        newer = memberships.follow(before, ledger, self.me, self.seed)
        memberships.save(self.place, newer, before, self.seed)
        self.membership = newer
        gone = ledger.removed.keys() - before.ledger.removed.keys()
        if gone:
            self._former_key = before.secrets.gossip_key, time.monotonic() + farewell.SECONDS
            self._say_farewell(newer, gone)

    def take_removal(self) -> None:
        """Be a removed node from now on: it was told so by a voter, or an operator had it leave."""
        if self.membership is None or self.me in self.membership.ledger.removed:
            return
        ledger, result = ledgers.reduce(
            self.membership.ledger, commands.remove(self.me), self.membership.genesis
        )
        if not result.applied:
            raise ClusterError(f"this node was removed, and cannot note it: {result.reason}")
        self.take_ledger(ledger)
        self.inbox.wake()

    def _say_farewell(self, membership: Membership, gone: Collection[str]) -> None:
        seed = membership.secrets.admission_seed
        for peer in self.gossip.peers:
            if seed is not None and peer.alive and peer.node_id in gone and peer.node_id != self.me:
                payload = farewell.say(seed, membership.hash, peer.node_id)
                self.gossip.ask(farewell.QUERY, payload, [peer.name])

    def _keep_mesh(self, now: float) -> str:
        assert self.membership is not None
        genesis, ledger = self.membership.genesis, self.membership.ledger
        # By itself: the mesh must not wait for a full disk.
        self._guard("contacts", lambda: self.contacts.note(self.gossip.peers, self.meshing.view, ledger, now))
        return self.meshing.keep(
            MeshNetwork(genesis.cluster_id, genesis.ipv4_range),
            tuple(ledger.members.values()),
            self.gossip.peers,
            ledger.members[self.me],
            known=self.contacts.endpoints,
            now=now,
        )

    def _keep_raft(self, now: float) -> str:
        assert self.membership is not None
        said = self.consensus.keep(self.membership, self.me, now)
        if self.consensus.error:
            raise ClusterError(self.consensus.error)
        return said

    def _see_to_duties(self, now: float) -> str:
        assert self.membership is not None
        return self.leader.tick(self.membership, self.consensus, self.gossip.peers, now)

    def _withdraw(self) -> None:
        """Leave mesh and Raft to the others."""
        self.leader.holding.end()
        self.consensus.stop()
        self.meshing.take_down()

    def _discover(self, now: float) -> None:
        """Have gossip run and say where this node stands; a key of the ledger beats the credential's."""
        credential, membership = self.credential, self.membership
        if membership is None and (credential is None or self.damage):
            return
        if membership is not None and self.standing.phase is Phase.REMOVED:
            return
        key = membership.secrets.gossip_key if membership else credential.gossip_key if credential else b""
        former, until = self._former_key
        if now < until:
            key = former
        further = self.gossip.addresses[1:4]
        self.gossip.open(
            credential,
            key,
            Announcement(
                phase=self.standing.phase,
                genesis=membership.hash if membership else None,
                wireguard_port=self.config.networking.listen_port,
                addresses=further,
                voter=self.consensus.mode in (Mode.VOTER, Mode.FRESH),
            ),
        )
        self.gossip.join(now, self.contacts.gossip_addresses(self.config.discovery.bind_port))
        if self.gossip.error:
            raise ClusterError(self.gossip.error)

    def _publish(self, now: float, done: str) -> None:
        sentence = self._sentence(done)
        ordered = sorted(self._ticks) or [0.0]
        known = publish.Knowledge(
            me=self.me,
            phase=self.standing.phase,
            sentence=sentence,
            error="; ".join(self._errors.values()),
            credential=self.credential,
            addresses=self.gossip.addresses,
            peers=self.gossip.peers,
            waiting=self.welcome.waiting(self.membership, now),
            raft=self.consensus.status,
            clock_synchronised=is_clock_synchronised(),
            tick=TickStatus(
                self._count, self._ticks[-1] if self._ticks else 0.0, ordered[len(ordered) * 95 // 100]
            ),
            warnings=(),
            interface=self.config.networking.interface,
            wireguard_port=self.config.networking.listen_port,
        )
        self.status = publish.compose(known, self.membership, self.meshing.view, now)
        status = self.status
        self._guard("status", lambda: published.write(Runtime(self.place.run).status, status))
        if done or sentence != self._said:
            _log.info("%s", sentence)
        self._said = sentence

    def _sentence(self, done: str) -> str:
        """Say in one sentence what the tick did and why."""
        phase, membership = self.standing.phase, self.membership
        if phase is not Phase.MEMBER or membership is None:
            said = self.forming.sentence if phase is Phase.FORMING and self.forming else ""
            return f"{self.standing.reason}{f': {said}' if said else ''}"
        ledger = membership.ledger
        vote = "voter" if self.me in ledger.voters else "member without a vote"
        held = self.leader.holding.acting
        roles = f", {' and '.join(held)} here" if held else ""
        return f"{done or 'no change'}: {vote} among {len(ledger.members)} members{roles}"

    def _next_tick(self, began: float) -> float:
        """Return when to look again, after a tick that began at `began` (monotonic)."""
        if self.standing.phase in (Phase.FORMING, Phase.JOINING):
            return began + QUICK
        # Looking at a thousand members takes a while; what is urgent wakes the loop by itself.
        calm = began + max(CALM, len(self.gossip.peers) / 100)
        return min(calm, time.monotonic() + self.leader.holding.wait())

    def _guard(self, part: str, act: Callable[[], object]) -> None:
        """Do a part of the work; keep its error for the status, and say it once."""
        try:
            act()
        except ClusterError as error:
            if self._errors.get(part) != error.message:
                _log.warning("%s: %s%s", part, error.message, f" ({error.hint})" if error.hint else "")
            self._errors[part] = error.message
        except Exception:
            _log.exception("%s: an error of the agent itself", part)
            self._errors[part] = f"{part}: an error of the agent itself; see: journalctl -u clusteros-agent"
        else:
            self._errors.pop(part, None)
