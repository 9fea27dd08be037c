# SPDX-License-Identifier: Apache-2.0
"""A world of machines that form: real messages and states, a network and disks that fail on command.

Time is virtual and the chances come from a seed, so that a run is the same each time. Each step checks what
must hold at every moment: never two geneses, neither learnt by a node nor chosen by a quorum of disks.
"""

import heapq
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from agent.cluster import Credential, Peer, Phase
from agent.errors import ClusterError
from agent.formation import forming, pursue
from agent.formation.acceptor import decode_state
from agent.formation.forming import Outcome
from agent.formation.genesis import hash_encoded
from agent.formation.plan import quorum
from agent.formation.record import decode_record
from tests.forming_machine import Machine
from tests.forming_material import SEEDS, hardware_of, make_credential, make_peer


def make_world(machines: int, planned: int | None = None, *, most: int = 1) -> "World":
    """Return a world of machines that have the credential for `planned` ones, or for as many as they are."""
    credential = make_credential(machines if planned is None else planned)
    return World([credential] * machines, random.Random(machines), most=most)


class World:
    """Machines and the network between them. `most` geneses may come to be (1, unless too many machines)."""

    def __init__(
        self,
        credentials: Iterable[Credential],
        chances: random.Random,
        *,
        seeds: Iterable[bytes] = SEEDS,
        most: int = 1,
    ) -> None:
        self.machines = [
            Machine(seed, hardware_of(index), credential)
            for index, (credential, seed) in enumerate(zip(credentials, seeds, strict=False))
        ]
        self.chances = chances
        self.most = most
        self.now = 1000.0
        self.loss = self.doubling = 0.0
        self.delay = (0.001, 0.05)
        self.staleness = 0.0  # share of looks at the network that show what was before
        self.detection = 5.0  # seconds until gossip tells that a machine is gone
        self.deaf: set[int] = set()  # what is sent to them is lost
        self.groups: dict[int, int] = defaultdict(int)
        self.geneses: set[str] = set()
        self.said: set[str] = set()
        self.votes: dict[object, set[tuple[str, str]]] = defaultdict(set)
        self._events: list[tuple[float, int, int, int, int, bytes]] = []
        self._number = 0

    # What happens to the world.

    def boot(self, index: int) -> None:
        machine = self.machines[index]
        if machine.formation is not None:
            return
        machine.starts += 1
        machine.sees = {}
        machine.formation = forming.begin(
            machine.credential, machine.seed, machine.hardware, machine.stored, self.chances.randbytes
        )
        if machine.record_file is not None:
            self._apply(index, forming.learn(machine.formation, machine.record_file), asker=None)
        self._at(self.chances.random() * 0.2, index, index, b"")

    def boot_all(self) -> range:
        for index in range(len(self.machines)):
            self.boot(index)
        return range(len(self.machines))

    def kill(self, index: int) -> None:
        self.machines[index].formation = None
        self.machines[index].dies = ""

    def split(self, groups: Iterable[int]) -> None:
        self.groups = defaultdict(int, enumerate(groups))

    def drop(self) -> None:
        """Lose all that is under way."""
        self._events = [event for event in self._events if not event[5]]

    def calm(self) -> None:
        """From here on nothing fails."""
        self.split([])
        self.deaf = set()
        self.loss = self.doubling = self.staleness = 0.0
        self.delay = (0.001, 0.05)
        for machine in self.machines:
            machine.dies = ""

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, start, source, target, data = heapq.heappop(self._events)
            if data:
                self._deliver(source, target, data)
            elif self.machines[target].formation is not None and self.machines[target].starts == start:
                self._tick(target)
        self.now = end

    def run_until_formed(self, indices: Iterable[int], limit: float) -> float:
        """Run until all of these machines have the genesis; return the seconds, at most `limit`."""
        wanted, begin = list(indices), self.now
        while not all(self.machines[index].genesis for index in wanted):
            sentences = [self.machines[index].sentence for index in wanted]
            assert self.now < begin + limit, f"not formed in {limit} s: {sentences}"
            self.run(0.1)
        return self.now - begin

    def propose(self, index: int) -> None:
        """Let a machine begin an attempt or go on with its own, whether or not it is its turn."""
        formation = self.machines[index].formation
        if formation is None or formation.geneses:
            return
        if formation.attempt is None:
            self._apply(index, pursue.start(formation, self.now), asker=None)
        else:
            self._apply(index, pursue.press_on(formation, formation.attempt, self.now), asker=None)

    def deliver(self, which: int, *, keep: bool) -> None:
        """Let one of the messages under way arrive, whichever; keep it to come again."""
        messages = [event for event in self._events if event[5]]
        if messages:
            event = messages[which % len(messages)]
            if not keep:
                self._events.remove(event)
            self._deliver(*event[3:])

    # How it goes on.

    def reaches(self, one: int, other: int) -> bool:
        both_on = self.machines[one].formation is not None and self.machines[other].formation is not None
        return both_on and self.groups[one] == self.groups[other]

    def _peers(self, index: int) -> list[Peer]:
        machine = self.machines[index]
        for other, peer_machine in enumerate(self.machines):
            if other != index and self.chances.random() >= self.staleness:
                known = machine.sees.get(other)
                if self.reaches(index, other):
                    machine.sees[other] = self._peer(peer_machine), self.now
                elif known is not None and known[1] + self.detection < self.now:
                    machine.sees[other] = replace(known[0], alive=False), known[1]
        return [peer for peer, _ in machine.sees.values()]

    def _peer(self, machine: Machine) -> Peer:
        formation = machine.formation
        assert formation is not None
        phase = Phase.FORMING
        if formation.geneses:
            phase = Phase.MEMBER if formation.genesis else Phase.JOINING
        peer = make_peer(0, phase=phase, genesis=formation.genesis)
        name = f"{machine.node_id}.{machine.hardware}"
        return replace(peer, name=name, node_id=machine.node_id, hardware=machine.hardware)

    def _tick(self, index: int) -> None:
        machine = self.machines[index]
        assert machine.formation is not None
        outcome = forming.tick(machine.formation, self._peers(index), self.now)
        if not self._apply(index, outcome, asker=None):
            return
        self._fetch(index)
        self._at(max(0.01, outcome.wake), index, index, b"")

    def _fetch(self, index: int) -> None:
        """Get the genesis record from a peer, as a joiner does."""
        machine = self.machines[index]
        formation = machine.formation
        if formation is None or formation.genesis or len(formation.geneses) != 1:
            return
        for other, peer in enumerate(self.machines):
            if self.reaches(index, other) and peer.genesis == formation.geneses[0]:
                if peer.record_file is not None and self.chances.random() >= self.loss:
                    self._apply(index, forming.learn(formation, peer.record_file), asker=None)
                return

    def _deliver(self, source: int, target: int, data: bytes) -> None:
        machine = self.machines[target]
        if machine.formation is None or self.groups[source] != self.groups[target] or target in self.deaf:
            return
        try:
            outcome = forming.receive(machine.formation, data, self.now)
        except ClusterError as error:
            machine.sentence = str(error)
            return
        self._apply(target, outcome, asker=source)

    def _apply(self, index: int, outcome: Outcome, asker: int | None) -> bool:
        """Carry out an outcome as forming.py says; False when the machine died of it."""
        machine = self.machines[index]
        if outcome.persist is not None:
            if machine.dies == "before":
                self.kill(index)
                return False
            machine.stored = decode_state(outcome.persist, machine.credential.cluster_id, "forming.msgpack")
            self._note_vote(machine)
            if machine.dies == "after":
                self.kill(index)
                return False
        machine.formation = outcome.formation
        # What leaves from here on must not be more than the disk knows.
        assert machine.stored == outcome.formation.state, "something was not persisted"
        machine.sentence = outcome.sentence or machine.sentence
        self.said.add(outcome.sentence)
        if outcome.reply is not None and asker is not None:
            self._send(index, asker, outcome.reply)
        for query in outcome.broadcasts:
            for other in range(len(self.machines)):
                self._send(index, other, query)
        if outcome.decided is not None:
            found = decode_record(outcome.decided).hash
            assert machine.genesis in (None, found), "a node left its genesis"
            machine.record_file, machine.genesis = outcome.decided, found
            self._note_genesis(found)
        return True

    def _note_vote(self, machine: Machine) -> None:
        vote = machine.stored.vote
        if vote is not None:
            votes = self.votes[vote.ballot]
            value = hash_encoded(vote.value)
            votes.add((machine.node_id, value))
            if sum(voted == value for _, voted in votes) >= quorum(machine.credential):
                self._note_genesis(value)

    def _note_genesis(self, genesis: str) -> None:
        self.geneses.add(genesis)
        assert len(self.geneses) <= self.most, f"{len(self.geneses)} geneses: {self.geneses}"

    def _send(self, source: int, target: int, data: bytes) -> None:
        while self.chances.random() >= self.loss:
            self._at(self.chances.uniform(*self.delay), source, target, data)
            if self.chances.random() >= self.doubling:
                return

    def _at(self, seconds: float, source: int, target: int, data: bytes) -> None:
        self._number += 1
        starts = self.machines[target].starts
        heapq.heappush(self._events, (self.now + seconds, self._number, starts, source, target, data))
