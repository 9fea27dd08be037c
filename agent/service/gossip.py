# SPDX-License-Identifier: Apache-2.0
"""This node's end of the gossip: Serf's configuration and connection, who is there, and whom to join.

Owns /run/cluster-os/serf.json: the unit clusteros-serf.path starts Serf when it appears, and again when it is
replaced. A Serf that is away is looked for at every tick; nothing here waits for it.
"""

import contextlib
import logging
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from agent import files
from agent.cluster import Credential, Peer
from agent.config import Config
from agent.discovery import join_plan, serf_config, tags
from agent.discovery.joiner import Joiner
from agent.discovery.mdns import Mdns
from agent.discovery.roster import Roster, read_roster
from agent.discovery.seeds import Found, Resolver
from agent.discovery.serf_records import (
    Event,
    Lost,
    MembersChanged,
    MembersLogged,
    QueryAnswer,
    QueryReceived,
)
from agent.discovery.serf_rpc import SerfRpc
from agent.errors import ClusterError
from agent.service.inbox import Inbox
from agent.service.own_addresses import OwnAddresses
from agent.service.serf_file import read_advertised, read_rpc_auth

RESOLVE_AGAIN = 60.0  # seconds between two looks at seeds and DNS while peers are seen
RESOLVE_ALONE = 10.0
TIME_LIMIT = 1.5
"""Seconds for an answer of Serf: the loop waits for it, and has leases to renew."""
POLL_AGAIN = 0.5
"""Seconds between two looks at who is there, for ticks that something else has woken."""
NEWS_AGAIN = 0.1
"""The same after news of Serf: many may come at once."""
SLOW_AGAIN = 5.0
"""Seconds after which a Serf that gave no answer in time is asked again; one that is not there, at once."""
_log = logging.getLogger("gossip")


class Announced(NamedTuple):
    """Addresses (host:port) at which nodes may be; a message for the inbox."""

    addresses: tuple[str, ...]
    news: bool = False  # they announced themselves just now


class Gossip:
    """Serf as the loop sees it. Queries, answers and losses go to `inbox` as Serf's records."""

    def __init__(self, config: Config, name: str, seed: bytes, file: Path, inbox: Inbox) -> None:
        self._config = config
        self._name = name
        self._seed = seed
        self._file = file
        self._inbox = inbox
        self._rpc_auth = read_rpc_auth(file) or secrets.token_hex(16)
        self._rpc = SerfRpc(
            self._rpc_auth, self._on_event, port=config.discovery.rpc_port, time_limit=TIME_LIMIT
        )
        self._ask_from = self._polled = float("-inf")
        self._news = False  # Serf told of a change since the last look
        self._opened: object = None  # what Serf was last made to run with and to announce
        self._joiner = Joiner(self._rpc.join, lambda _address, _error: None)
        self._resolver: Resolver | None = None
        self._resolved = float("-inf")
        self._mdns: Mdns | None = None
        self._key = b""
        self._own = OwnAddresses(config.networking.interface)
        # Serf goes on when the agent is started again, as long as nothing in its configuration changes.
        self._written: bytes | None = file.read_bytes() if file.exists() else None
        self._wanted: dict[str, str] = {}
        self._announced: dict[str, str] = {}  # the tags that Serf has, as of the last look
        self._candidates: dict[str, join_plan.Candidate] = {}
        self._attempts: dict[str, join_plan.Attempt] = {}
        self.addresses: tuple[str, ...] = ()
        """The addresses of this machine on the underlay, the advertised one first, as of the last `poll`."""
        self.roster = Roster()
        self.error = ""

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Who gossips and has proved its name, this node included."""
        return self.roster.peers

    def open(self, credential: Credential | None, gossip_key: bytes, announcement: tags.Announcement) -> None:
        """Have Serf run with this key, and say `announcement` of this node."""
        addresses = self.addresses
        given = (gossip_key, announcement, addresses)
        if given == self._opened and self._announced == self._wanted and self._rpc.connected:
            return
        self._opened = None
        self._wanted = wanted = tags.encode(announcement, self._name, self._seed)
        if gossip_key != self._key:
            self._key = gossip_key
            self._begin_looking(credential)
        if not addresses:
            self.error = "this machine has no network address"
            return
        content = serf_config.render(
            serf_config.SerfSettings(
                name=self._name,
                bind_address="::" if ":" in addresses[0] else "0.0.0.0",  # noqa: S104 - the firewall decides
                bind_port=self._config.discovery.bind_port,
                advertise=addresses[0],
                rpc_port=self._config.discovery.rpc_port,
                rpc_auth=self._rpc_auth,
                gossip_key=gossip_key,
                tags=wanted,
                log_level="warning",
            )
        )
        if serf_config.needs_restart(self._written, content):
            if self._advertised_differs(content) and self._rpc.connected:
                # Else the others refuse the new address for most of a minute: it looks like another node.
                self.leave()
            files.replace(self._file, content, mode=0o600)
            self._written = content
            self._attempts = {}
            self._rpc.close()
        elif wanted != self._announced and self._rpc.connected:
            gone = [tag for tag in self._announced if tag not in wanted]
            with self._told():
                self._rpc.set_tags(wanted, gone)
                self._announced = wanted
        if wanted == self._announced and self._rpc.connected:
            self._opened = given

    def poll(self, now: float) -> None:
        """Look who is there, and which addresses this machine has; connect first if need be."""
        again = NEWS_AGAIN if self._news else POLL_AGAIN
        if self._rpc.connected and now < self._polled + again:
            return
        self._news, self._polled = False, now
        self.addresses = self._own.list()
        if self._written is None or now < self._ask_from:
            return
        began = time.monotonic()
        with self._told():
            if not self._rpc.connected:
                self._rpc.connect()
                self._rpc.stream()
                self._rpc.monitor()
                self._attempts = {}
            members = self._rpc.members()
            # Serf may have been started with an older announcement; a tag too many would spoil the signature.
            self._announced = next((dict(member.tags) for member in members if member.name == self._name), {})
            self.roster = read_roster(members, self.roster, now)
            self.error = ""
        if self.error and time.monotonic() - began >= TIME_LIMIT:
            self._ask_from = now + SLOW_AGAIN

    @property
    def hears(self) -> bool:
        """Whether Serf runs, so that others can be seen."""
        return self._rpc.connected

    @property
    def look_at(self) -> float:
        """When to `poll` again at the latest, for what Serf has told since the last look."""
        return self._polled + NEWS_AGAIN if self._news else float("inf")

    def join(self, now: float, known: Iterable[str]) -> None:
        """Join who is due; `known` are further addresses (host:port) of members of former times."""
        if not self._rpc.connected:
            return
        others = [peer.address for peer in self.peers if peer.alive and peer.name != self._name]
        if self._resolver and now - self._resolved > (RESOLVE_AGAIN if others else RESOLVE_ALONE):
            self._resolved = now
            self._resolver.start()
        port = self._config.discovery.bind_port
        candidates = join_plan.note(self._candidates, known, now)
        self._candidates = join_plan.forget(candidates, now)
        own = [join_plan.join_port(address, port) for address in self.addresses]
        alive = [join_plan.join_port(address, port) for address in others]
        for address in join_plan.plan_joins(
            self._candidates, alive, self._attempts, now, own=own, name=self._name
        ):
            if self._joiner.start(address):
                self._attempts = join_plan.record(self._attempts, address, self._candidates, now)

    def add_candidates(self, found: "Announced", now: float) -> None:
        """Note addresses at which nodes may be."""
        self._candidates = join_plan.note(self._candidates, found.addresses, now, news=found.news)

    def ask(
        self, name: str, payload: bytes, nodes: Iterable[str] = (), *, seconds: float = 2.0
    ) -> int | None:
        """Send a query; answers come to the inbox with the number that is returned, None when it failed."""
        with self._told():
            return self._rpc.query(name, payload, nodes=tuple(nodes), seconds=seconds)
        return None

    def answer(self, query: QueryReceived, payload: bytes) -> None:
        """Answer a query; one that came too late is asked again by who needs it."""
        try:
            self._rpc.respond(query.id, payload)
        except ClusterError as error:
            _log.debug("no answer to %s: %s", query.name, error.message)

    def leave(self) -> None:
        """Say goodbye to the others, who then forget this node."""
        with self._told():
            self._rpc.leave()

    def close(self) -> None:
        """End what was begun; Serf itself goes on."""
        self._rpc.close()
        if self._mdns:
            self._mdns.close()
            self._mdns = None

    def _begin_looking(self, credential: Credential | None) -> None:
        """Look for peers with the present key."""
        port = self._config.discovery.bind_port

        def found(address: str, at: int) -> None:
            self._inbox.put(Announced((join_plan.join_port(address, at),), news=True))

        if self._mdns:
            self._mdns.close()
            self._mdns = None
        if self._config.discovery.mdns:
            self._mdns = Mdns(self._key, port, found)
            self._mdns.start()
        if credential is not None:
            self._resolver = Resolver(credential.seeds, credential.srv, port, self._on_resolved)

    def _on_resolved(self, found: Found) -> None:
        self._inbox.put(Announced(found.addresses))

    def _on_event(self, event: Event) -> None:
        if isinstance(event, (QueryReceived, QueryAnswer, Lost)):
            self._inbox.put(event)
        elif isinstance(event, MembersChanged | MembersLogged):
            self._news = True
            self._inbox.wake()

    def _advertised_differs(self, content: bytes) -> bool:
        return bool(self._written) and read_advertised(self._written or b"{}") != read_advertised(content)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Keep an error of Serf for the status instead of ending the tick."""
        try:
            yield
        except ClusterError as error:
            self.error = error.message
