# SPDX-License-Identifier: Apache-2.0
"""Read and write on a connection, bounded in size and in time. No protocol."""

import socket
import struct
import time

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def read_user(connection: socket.socket) -> int:
    """Return the ID of the user who connected to a Unix socket: the kernel's word (SO_PEERCRED, unix(7))."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(found)[1]
    return user


def read_until(connection: socket.socket, end: bytes, *, limit: int, time_limit: float) -> bytes:
    """Return what the other side sends up to and with `end`, or up to where it stops sending.

    At most `limit` + 1 bytes, so that the caller can tell what is too long. Raises TimeoutError when that
    takes longer than `time_limit` seconds in all, OSError when the connection breaks.
    """
    deadline = time.monotonic() + time_limit
    data = bytearray()
    while len(data) <= limit:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        part = connection.recv(min(65536, limit + 1 - len(data)))
        # The end may have come in two parts.
        found = (data[-len(end) :] + part).find(end) >= 0
        data += part
        if found:
            return bytes(data[: data.find(end) + len(end)])
        if not part:
            break
    return bytes(data)


def send(connection: socket.socket, data: bytes, *, time_limit: float) -> None:
    """Send all of `data`; TimeoutError when that takes longer than `time_limit` seconds, OSError."""
    connection.settimeout(time_limit)
    connection.sendall(data)
