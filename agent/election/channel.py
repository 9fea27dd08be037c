# SPDX-License-Identifier: Apache-2.0
"""One end of a connection between two replicas: bytes in, messages out. Pure.

Takes the place of PySyncObj's connection, where each message is a Fernet token around a pickle: an order of
magnitude more time for a message (the idle leader sends dozens a second), no limit to what a stranger may
make it buffer. Here, with S the Raft password, which only members hold:

    client, server   "cosraft1", 32 random bytes
    key              HMAC-SHA256(S, "cluster-os raft channel" NUL direction NUL client's, server's bytes)
    frame            u32 length, secretbox (XSalsa20-Poly1305, libsodium) of the payload

The nonce of a frame is its number, from 0, with a key of its own for each direction and connection: what is
repeated, left out, reordered, sent back or taken from another connection does not open. The first frame of
each end is its name: `voter ADDRESS` or `observer ADDRESS`. Until it has come, nothing but the 40 bytes
above and one short frame is taken. A password of PySyncObj may be weak, and is stretched; this one may not:
it is a key (32 random bytes, base64).
"""

import hmac
import struct

from nacl import bindings
from nacl.exceptions import CryptoError

from agent.election.address import is_address
from agent.election.message import MAX_MESSAGE
from agent.errors import ClusterError

HELLO = b"cosraft1"
NONCE_BYTES = 32
MAX_NAME = 64
MAX_FRAME = MAX_MESSAGE + bindings.crypto_secretbox_MACBYTES
MIN_PASSWORD = 43  # characters: base64 of 32 bytes without padding
ROLES = ("voter", "observer")
_LENGTH = struct.Struct(">I")
_NAME_FRAME = MAX_NAME + bindings.crypto_secretbox_MACBYTES


class Channel:
    """Give `received` what the socket brings, and the socket what is in `outgoing`."""

    def __init__(self, password: str, *, client: bool, nonce: bytes, name: str) -> None:
        """`nonce`: 32 fresh random bytes; `name`: what this end says that it is."""
        self.outgoing = bytearray(HELLO + nonce)
        self.peer: tuple[str, str] | None = (
            None  # role and address, once the other end has proved the password
        )
        self._password = password.encode()
        self._client = client
        self._nonce = nonce
        self._name = name
        self._buffer = bytearray()
        self._send_key = self._receive_key = b""
        self._sent = self._opened = 0

    @property
    def greeted(self) -> bool:
        """Whether the other end speaks this protocol, as far as it has come."""
        return bool(self._receive_key)

    def send(self, payload: bytes) -> None:
        """Seal one message; only once `peer` is known."""
        self._seal(payload)

    def received(self, data: bytes) -> list[bytes]:
        """Take bytes, return the messages that are complete. ClusterError: close the connection."""
        self._buffer += data
        if not self._receive_key and not self._shake_hands():
            return []
        messages = []
        while (payload := self._next_frame()) is not None:
            if self.peer is None:
                self.peer = _read_name(payload)
            else:
                messages.append(payload)
        return messages

    def _shake_hands(self) -> bool:
        hello = bytes(self._buffer[: len(HELLO) + NONCE_BYTES])
        if hello[: len(HELLO)] != HELLO[: len(hello)]:
            raise ClusterError("the other end does not speak this protocol")
        if len(hello) < len(HELLO) + NONCE_BYTES:
            return False
        del self._buffer[: len(hello)]
        theirs = hello[len(HELLO) :]
        # An end that got its own bytes back talks to a mirror.
        if theirs == self._nonce:
            raise ClusterError("the other end repeats what it was sent")
        both = self._nonce + theirs if self._client else theirs + self._nonce
        keys = [
            hmac.digest(self._password, b"cluster-os raft channel\0" + direction + b"\0" + both, "sha256")
            for direction in (b"to server", b"to client")
        ]
        self._send_key, self._receive_key = keys if self._client else reversed(keys)
        self._seal(self._name.encode())
        return True

    def _seal(self, payload: bytes) -> None:
        box = bindings.crypto_secretbox(payload, _nonce(self._sent), self._send_key)
        self._sent += 1
        self.outgoing += _LENGTH.pack(len(box)) + box

    def _next_frame(self) -> bytes | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > (_NAME_FRAME if self.peer is None else MAX_FRAME):
            raise ClusterError(f"a frame of {length} bytes is longer than any")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        box = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        try:
            payload: bytes = bindings.crypto_secretbox_open(box, _nonce(self._opened), self._receive_key)
        except (CryptoError, ValueError):
            raise ClusterError("the other end does not hold the Raft password of this cluster") from None
        self._opened += 1
        return payload


def check_password(password: str) -> None:
    """Raise ClusterError when `password` cannot be 32 random bytes in base64."""
    if len(password) < MIN_PASSWORD:
        raise ClusterError(
            "the Raft password is too short to be a key", hint="it is base64 of 32 random bytes"
        )


def _nonce(number: int) -> bytes:
    return number.to_bytes(bindings.crypto_secretbox_NONCEBYTES, "big")


def _read_name(payload: bytes) -> tuple[str, str]:
    role, _, address = payload.decode("ascii", "replace").partition(" ")
    if role not in ROLES or not is_address(address):
        raise ClusterError("the other end has no name that a replica could have")
    return role, address
