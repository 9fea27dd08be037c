# SPDX-License-Identifier: Apache-2.0
"""One connection to Serf's RPC: requests by their number, one thread that reads, nothing that waits for ever.

It lives until it is closed, the other side closes it, an answer is late or the stream makes no sense; then
every open request fails and `on_lost` is called once. A new try is a new connection.
"""

import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgpack

from agent.discovery.serf_stream import Record, Shape, StreamError, StreamParser
from agent.errors import ClusterError

IPC_VERSION = 1
_HINT = "see: systemctl status clusteros-serf"
_RECEIVE_BYTES = 1 << 16
_MAX_OPEN_QUERIES = 256


class _Call:
    """A request that waits for its answer."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.record: Record | None = None


class Connection:
    """A connection to the Serf at `host`:`port`, authenticated with `auth_key`; `time_limit` in seconds.

    `on_record` and `on_lost` are called by the reading thread; they must be quick and must not make a
    request. `on_record` says whether the record was the last of its query. Raises ClusterError when Serf does
    not answer, or not to this key.
    """

    def __init__(
        self,
        host: str,
        port: int,
        auth_key: str,
        *,
        time_limit: float,
        on_record: Callable[[Record], bool],
        on_lost: Callable[[ClusterError], None],
    ) -> None:
        self._where = f"{host}:{port}"
        self._time_limit = time_limit
        self._on_record = on_record
        self._on_lost = on_lost
        self._parser = StreamParser()
        self._calls: dict[int, _Call] = {}
        self._last_seq = 0
        self._lock = threading.Lock()  # over the number of requests and the order of sending
        self._established = False
        self._closing = False
        self._reason = ""
        try:
            self._socket = socket.create_connection((host, port), timeout=time_limit)
        except OSError as error:
            raise ClusterError(f"Serf does not answer on {self._where}: {_say(error)}", hint=_HINT) from None
        # A time limit for sending only; reading waits for what comes, and ends by a shutdown of the socket.
        self._socket.settimeout(None)
        limit = struct.pack("ll", int(time_limit), int(time_limit % 1 * 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._thread = threading.Thread(target=self._read, name="serf-rpc", daemon=True)
        self._thread.start()
        try:
            self.request("handshake", {"Version": IPC_VERSION})
            self.request("auth", {"AuthKey": auth_key})
        except ClusterError:
            self.close()
            raise
        self._established = True

    @property
    def alive(self) -> bool:
        return not self._closing and not self._reason

    def request(
        self,
        command: str,
        body: Mapping[str, object] | None = None,
        *,
        shape: Shape = Shape.HEADER,
        time_limit: float | None = None,
    ) -> Record:
        """Send a command and return its answer; with Shape.STREAM, more records follow by `on_record`.

        Raises ClusterError with Serf's reason, or when there is no answer in time: then the connection is
        lost.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("the thread that reads answers cannot wait for one")
        call = _Call()
        with self._lock:
            if shape is Shape.STREAM and self._parser.open_streams >= _MAX_OPEN_QUERIES:
                raise ClusterError("too many open queries to Serf", hint="try again in some seconds")
            self._last_seq += 1
            seq = self._last_seq
            self._calls[seq] = call
            self._parser.expect(seq, shape)
            data = msgpack.packb({"Command": command, "Seq": seq})
            data += b"" if body is None else msgpack.packb(body)
            try:
                self._socket.sendall(data)
            except OSError as error:
                self._fail(f"cannot send to it: {_say(error)}")
                call.done.set()
        limit = self._time_limit if time_limit is None else time_limit
        if not call.done.wait(limit):
            self._fail(f"no answer to {command} in {limit:g} s")
        self._calls.pop(seq, None)
        if call.record is None:
            raise self._lost_error()
        if call.record.error:
            raise ClusterError(f"Serf refuses {command}: {call.record.error}", hint=_HINT)
        return call.record

    def close(self) -> None:
        """End the connection; `on_lost` is not called."""
        self._closing = True
        self._shut()
        if threading.current_thread() is not self._thread:
            self._thread.join(self._time_limit)

    def _fail(self, reason: str) -> None:
        self._reason = self._reason or reason
        self._shut()

    def _shut(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _lost_error(self) -> ClusterError:
        reason = self._reason or "the connection was closed"
        return ClusterError(f"lost the connection to Serf on {self._where}: {reason}", hint=_HINT)

    def _read(self) -> None:
        reason = "it closed the connection"
        try:
            while data := self._socket.recv(_RECEIVE_BYTES):
                for record in self._parser.feed(data):
                    call = self._calls.pop(record.seq, None)
                    if call:
                        call.record = record
                        call.done.set()
                    elif self._on_record(record):
                        self._parser.forget(record.seq)
        except OSError as error:
            reason = _say(error)
        except StreamError as error:
            reason = f"it sends what is not its protocol: {error}"
        finally:
            self._reason = self._reason or reason
            # First the shutdown, which wakes a thread that still sends and holds the lock.
            self._shut()
            with self._lock:
                self._socket.close()
                waiting = list(self._calls.values())
            for call in waiting:
                call.done.set()
            if self._established and not self._closing:
                self._on_lost(self._lost_error())


def _say(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
