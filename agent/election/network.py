# SPDX-License-Identifier: Apache-2.0
"""The connections of a replica: one with each voter that it knows, and at a voter one from each observer.

Of two voters the one with the higher address connects first, the other if that does not come about: it may
not know of the first. When they cross, the call of the higher one stays. An observer connects to every voter.
A name counts only from the address that it names, which on the mesh WireGuard vouches for. Strangers cost
little and end soon. A connection that does not come about is given up, so that a machine that is powered on
again is not waited for by TCP's growing pauses.
"""

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from agent.election import address, connection
from agent.election.channel import Channel
from agent.election.connection import Connection
from agent.election.interfaces import ERROR, READ, Poller
from agent.errors import ClusterError

_log = logging.getLogger(__name__)
MAX_STRANGERS = 128
WARN_EVERY = 60.0  # seconds, about one other end
MAX_WARNED = 1000
Name = tuple[str, str]
"""`voter` or `observer`, and the address."""


@dataclass(frozen=True)
class Link:
    """How a replica is reached and reaches others. Times in seconds."""

    me: str  # address of this node; an observer does not listen there
    votes: bool
    password: str
    guests: frozenset[str] = frozenset()  # voters that the caller knows of; Raft may not, yet
    retry: float = 0.5  # between two attempts to connect to one voter; a new voter is let in by the next one
    patience: float = 2.0  # for a connection to come about, and a stranger to say who it is
    silence: float = 4.0  # until a connection to a machine that vanished counts as ended

    def __repr__(self) -> str:
        return f"Link({self.me})"


class Network:
    """Keeps connections with the voters `wanted`; tells who `joined` and `left`, and what was `received`."""

    def __init__(
        self,
        link: Link,
        poller: Poller,
        clock: Callable[[], float],
        *,
        joined: Callable[[Name], None],
        left: Callable[[Name], None],
        received: Callable[[Name, bytes], None],
    ) -> None:
        """Listen, at a voter. ClusterError when the address cannot be had."""
        self.wanted: set[str] = set()
        self._link, self._poller, self._clock = link, poller, clock
        self._joined, self._left, self._received = joined, left, received
        self._host = address.split(link.me)[0]
        self._name = f"{'voter' if link.votes else 'observer'} {link.me}"
        self._named: dict[Name, Connection] = {}
        self._strangers: list[Connection] = []  # accepted, without a name yet
        self._calls: dict[str, Connection] = {}  # begun here, without a name yet
        self._next_calls: dict[str, float] = {}  # not while there is a connection
        self._listener = connection.listen(link.me) if link.votes else None
        self._deaf_until: float | None = 0.0  # None: listens
        self._warned: dict[str, float] = {}

    def find(self, name: Name) -> Connection | None:
        return self._named.get(name)

    def tick(self) -> None:
        """Begin the connections that are wanted, end those that do not come about."""
        now = self._clock()
        for there in self.wanted - self._calls.keys() - {self._link.me}:
            if ("voter", there) not in self._named and now >= self._next_call(there, now):
                self._next_calls[there] = now + self._link.retry
                self._call(there, now)
        for each in (*self._strangers, *self._calls.values()):
            if now - each.since > self._link.patience:
                each.close("it took too long")
        if self._listener is not None and self._deaf_until is not None and now >= self._deaf_until:
            self._deaf_until = None
            self._poller.subscribe(self._listener.fileno(), self._accept, READ | ERROR)

    def flush(self) -> None:
        """Let out what was sent."""
        for each in self._connections():
            each.flush()

    def drop(self, there: str, why: str) -> None:
        """End the connection with a voter."""
        for found in (self._named.get(("voter", there)), self._calls.get(there)):
            if found is not None:
                found.close(why)

    def close(self) -> None:
        self.wanted.clear()
        for each in self._connections():
            each.close("this end stops")
        if self._listener is not None:
            if self._deaf_until is None:
                self._poller.unsubscribe(self._listener.fileno())
            self._listener.close()

    def _connections(self) -> list[Connection]:
        return [*self._named.values(), *self._calls.values(), *self._strangers]

    def _next_call(self, there: str, now: float) -> float:
        """Return when to call a voter: whose turn it is not gives the other one some time first."""
        wait = 0.0 if self._calls_first(there) else 2 * self._link.retry
        return self._next_calls.setdefault(there, now + wait)

    def _calls_first(self, there: str) -> bool:
        return not self._link.votes or self._link.me > there

    def _call(self, there: str, now: float) -> None:
        try:
            made = connection.connect(*address.split(there), self._host)
        except OSError as error:
            _log.debug("no connection to the voter %s: %s", there, error.strerror)
            return
        self._calls[there] = self._make(made, address.split(there)[0], client=True, now=now)

    def _accept(self, _: int, __: int) -> None:
        assert self._listener is not None
        now = self._clock()
        try:
            made, (host, _port) = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            # Out of file descriptors, most likely: what waits would be told again at once, and for ever.
            _log.warning("Raft takes no connections for a while: %s", error.strerror)
            self._poller.unsubscribe(self._listener.fileno())
            self._deaf_until = now + self._link.retry
            return
        if len(self._strangers) >= MAX_STRANGERS:
            self._strangers[0].close("too many strangers")
        self._strangers.append(self._make(made, host, client=False, now=now))

    def _make(self, made: socket.socket, host: str, *, client: bool, now: float) -> Connection:
        connection.tune(made, self._link.silence)
        channel = Channel(self._link.password, client=client, nonce=os.urandom(32), name=self._name)
        return Connection(
            made,
            channel,
            self._poller,
            host=host,
            connecting=client,
            now=now,
            taken=self._taken,
            ended=self._ended,
        )

    def _taken(self, origin: Connection, payloads: list[bytes]) -> None:
        name = origin.channel.peer
        if name is None:
            return
        if self._named.get(name) is not origin:
            self._give_name(origin, name)
        for payload in payloads:
            if origin.open:
                self._received(name, payload)

    def _give_name(self, origin: Connection, name: Name) -> None:
        role, there = name
        called = next((key for key, value in self._calls.items() if value is origin), None)
        if called is not None:
            if name != ("voter", called):
                raise ClusterError(f"{called} calls itself {role} {there}")
            del self._calls[called]
        else:
            if address.split(there)[0] != origin.host or there == self._link.me:
                raise ClusterError(f"{origin.host} calls itself {role} {there}, which it is not")
            self._strangers.remove(origin)
        if (before := self._named.get(name)) is not None:
            first, crossed = self._calls_first(there), self._clock() - before.since < self._link.patience
            if crossed and before.called == first and origin.called != first:
                raise ClusterError("there is a connection already")
            before.close("the other end has connected again")
        self._next_calls.pop(there, None)
        self._named[name] = origin
        _log.info("connected with %s %s", *name)
        self._joined(name)

    def _ended(self, origin: Connection, why: str) -> None:
        name = origin.channel.peer
        if name is not None and self._named.get(name) is origin:
            del self._named[name]
            _log.info("connection with %s %s ended: %s", *name, why)
            self._left(name)
            return
        if origin in self._strangers:
            self._strangers.remove(origin)
            self._warn(f"from {origin.host}", why)
        for there in [key for key, value in self._calls.items() if value is origin]:
            del self._calls[there]
            # A voter that is away is nothing to tell at each try; one that does not want this node is.
            if origin.channel.greeted:
                self._warn(f"to the voter {there}", why)

    def _warn(self, which: str, why: str) -> None:
        """Tell of a connection without a name that ended, but not of each that ends in the same way."""
        now = self._clock()
        if now - self._warned.get(which, -WARN_EVERY) >= WARN_EVERY and len(self._warned) < MAX_WARNED:
            self._warned[which] = now
            _log.warning("connection %s ended: %s", which, why)
