# SPDX-License-Identifier: Apache-2.0
"""One TCP connection between two replicas, never blocking. Owns its socket.

What is sent is kept until `flush`, which the transport calls when all that it promises is on the disk.
"""

import socket
from collections.abc import Callable
from contextlib import suppress

from agent.election import address
from agent.election.channel import Channel
from agent.election.interfaces import ERROR, READ, WRITE, Poller
from agent.errors import ClusterError

MAX_BACKLOG = 128 << 20  # bytes that a slow reader may leave unread: two snapshots of the largest size
_READ_SIZE = 256 << 10


class Connection:
    """`host` is the other end's address. Tells what came by `taken`, first when the other end has its name.

    Tells by `ended` why the connection is closed.
    """

    def __init__(
        self,
        connected: socket.socket,
        channel: Channel,
        poller: Poller,
        *,
        host: str,
        connecting: bool,
        now: float,
        taken: Callable[["Connection", list[bytes]], None],
        ended: Callable[["Connection", str], None],
    ) -> None:
        self.channel = channel
        self.since = now
        self.host = host
        self.called = connecting  # by this end
        self._socket = connected
        self._fd = connected.fileno()
        self._poller = poller
        self._connecting = connecting
        self._taken = taken
        self._ended = ended
        self.open = True
        poller.subscribe(self._fd, self._happened, WRITE | READ | ERROR if connecting else READ | ERROR)

    def send(self, payload: bytes) -> None:
        if len(self.channel.outgoing) > MAX_BACKLOG:
            self.close("the other end does not read")
        else:
            self.channel.send(payload)

    def flush(self) -> None:
        """Write as much as the socket takes."""
        outgoing = self.channel.outgoing
        if not outgoing or self._connecting or not self.open:
            return
        try:
            # A view, as cutting a long rest off after each part would copy it each time.
            with memoryview(outgoing) as view:
                written = 0
                while written < len(view) and (count := self._socket.send(view[written:])):
                    written += count
        except BlockingIOError:
            pass
        except OSError as error:
            self.close(error.strerror or "cannot write")
            return
        del outgoing[:written]
        self._poller.subscribe(self._fd, self._happened, READ | ERROR | (WRITE if outgoing else 0))

    def close(self, why: str) -> None:
        if self.open:
            self.open = False
            self._poller.unsubscribe(self._fd)
            self._socket.close()
            self._ended(self, why)

    def _happened(self, _: int, events: int) -> None:
        if not self.open:
            return
        if self._connecting:
            failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed or events & ERROR:
                self.close("no connection")
            elif events & WRITE:
                self._connecting = False
                self._poller.subscribe(self._fd, self._happened, READ | ERROR)
        # What came before the other end hung up is still read.
        elif events & READ:
            self._read()
        elif events & ERROR:
            self.close("the other end hung up")
        # A socket that can be written again is written by `flush`, not here: see above.

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(error.strerror or "cannot read")
            return
        if not data:
            self.close("the other end hung up")
            return
        try:
            messages = self.channel.received(data)
            self._taken(self, messages)
        except ClusterError as error:
            self.close(error.message)


def connect(host: str, port: int, source: str) -> socket.socket:
    """Begin a connection from the address `source`; OSError when that is impossible already."""
    made = _socket()
    try:
        made.bind((source, 0))
        with suppress(BlockingIOError):
            made.connect((host, port))
    except OSError:
        made.close()
        raise
    return made


def listen(where: str) -> socket.socket:
    """Listen at `where` (host:port), there only. ClusterError when the address cannot be had."""
    made = _socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address.split(where))
        made.listen(256)
    except OSError as error:
        made.close()
        raise ClusterError(
            f"Raft cannot listen on {where}: {(error.strerror or str(error)).lower()}",
            hint="see that the mesh interface is up and that no other program has the port",
        ) from None
    return made


def tune(connected: socket.socket, silence: float) -> None:
    """Make the kernel end a connection whose other end has vanished, after about `silence` seconds."""
    connected.setblocking(False)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, max(1, round(silence) - 1))
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(silence * 1000))


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    made.setblocking(False)
    return made
