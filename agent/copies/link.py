# SPDX-License-Identifier: Apache-2.0
"""A connection between a holder and a keeper of copies: proof, messages, content. Blocking."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from agent.copies import message, proof
from agent.copies.message import Drop, Message
from agent.copies.tree import opened
from agent.errors import ClusterError

TIME_LIMIT = 10.0
"""Seconds for each read or write. What waits for a change waits without one (`patient`)."""
CONNECT_LIMIT = 3.0
_PART = 1 << 20
_Kind = TypeVar("_Kind", bound=Message)


class Link:
    """One end. ClusterError, OSError: it is of no more use."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(TIME_LIMIT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # An end that vanished is found out in half a minute, also by who only waits.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5)
        self._connection = connection
        self._in = connection.makefile("rb", buffering=_PART)

    def close(self) -> None:
        """End it; twice is fine."""
        self._in.close()
        self._connection.close()

    def say(self, said: Message) -> None:
        """Send a message."""
        self._connection.sendall(message.encode(said))

    def hear(self) -> Message | None:
        """Return the next message; None when the other end has closed."""
        line = self._in.readline(message.MAX_LINE + 1)
        if not line:
            return None
        if not line.endswith(b"\n"):
            raise ClusterError("a message about copies is too long, or cut off")
        return message.decode(line)

    def expect(self, kind: type[_Kind]) -> _Kind:
        """Return the next message, which must be of this kind."""
        heard = self.hear()
        if not isinstance(heard, kind):
            raise ClusterError(f"expected {kind.__name__.lower()}, and got another message about copies")
        return heard

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Wait without an end for what comes within."""
        self._connection.settimeout(None)
        try:
            yield
        finally:
            self._connection.settimeout(TIME_LIMIT)

    def put(self, folder: Path, name: str) -> None:
        """Send a file as it is now; one that is not there is dropped."""
        with opened(folder, name) as found:
            if found is None:
                self.say(Drop(name))
                return
            put, source = found
            self.say(put)
            left = put.bytes
            while left:
                # One that has become shorter is sent once more, as a change.
                part = source.read(min(left, _PART)) or b"\0" * min(left, _PART)
                self._connection.sendall(part)
                left -= len(part)

    def take_content(self, target: BinaryIO, size: int) -> None:
        """Write the next `size` bytes to a file."""
        left = size
        while left:
            part = self._in.read(min(left, _PART))
            if not part:
                raise ClusterError("the content of a file is cut off")
            target.write(part)
            left -= len(part)

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        data: bytes = self._in.read(size)
        if len(data) != size:
            raise ClusterError("the other end closed the connection")
        return data

    def give(self, data: bytes) -> None:
        """Send bytes."""
        self._connection.sendall(data)


def call(host: str, port: int, secret: bytes) -> Link:
    """Connect to a keeper, and prove each other. ClusterError, OSError when that fails."""
    made = socket.create_connection((host, port), CONNECT_LIMIT)
    link = Link(made)
    try:
        hello = link.take(len(proof.HELLO) + proof.NONCE)
        keeper, holder = hello[len(proof.HELLO) :], os.urandom(proof.NONCE)
        if not hello.startswith(proof.HELLO):
            raise ClusterError(f"{host} port {port} keeps no copies")
        link.give(holder + proof.prove(secret, b"holder", keeper, holder))
        if not proof.is_proof(link.take(proof.PROOF), secret, b"keeper", keeper, holder):
            raise ClusterError(f"{host} does not know the secret of the role")
    except BaseException:
        link.close()
        raise
    return link


def answer(connection: socket.socket, secret: bytes) -> Link | None:
    """Take a holder that has connected; None when it does not prove itself."""
    link = Link(connection)
    keeper = os.urandom(proof.NONCE)
    link.give(proof.HELLO + keeper)
    holder, found = link.take(proof.NONCE), link.take(proof.PROOF)
    if not proof.is_proof(found, secret, b"holder", keeper, holder):
        return None
    link.give(proof.prove(secret, b"keeper", keeper, holder))
    return link
