# SPDX-License-Identifier: Apache-2.0
"""WireGuard of a program (wireguard-go), for kernels that have none: by its socket NAME.sock.

Owns private key, port and peers of the link; the program makes the link itself and takes it with it when it
ends. Whoever starts the program starts it again; until then every order fails and says so.

The protocol is text, one operation a connection: https://www.wireguard.com/xplatform/
"""

import base64
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from nacl import bindings

from agent.cluster import MeshPeer
from agent.errors import ClusterError
from agent.mesh.device import DeviceState, encode_key
from agent.mesh.link import Link
from agent.mesh.plan import Change, RemovePeer
from agent.mesh.sessions import Endpoint

SOCKETS = Path("/var/run/wireguard")
LINK_KIND = "tun"
_TIME_LIMIT = 5.0  # seconds for one operation
_MAX_ANSWER = 64 << 20  # bytes; ten thousand peers take some 5 MB


class UserspaceDevice:
    """The device `name` of a running wireguard-go; see agent.mesh.device.Device."""

    kind = "userspace"

    def __init__(self, name: str, sockets: Path = SOCKETS) -> None:
        self._name = name
        self._path = sockets / f"{name}.sock"

    @property
    def answers(self) -> bool:
        """Whether the program runs."""
        try:
            self.read()
        except ClusterError:
            return False
        return True

    def prepare(self, link: Link) -> bool:
        self.read()
        if link.kind() != LINK_KIND:
            raise ClusterError(
                f"{self._name} is not the interface of the WireGuard program",
                hint="restart the program: it makes the interface when it starts",
            )
        return False

    def read(self) -> DeviceState:
        return parse_device(self._ask("get=1\n\n"))

    def configure(self, private_key: bytes, listen_port: int) -> None:
        self._order(f"private_key={private_key.hex()}\nlisten_port={listen_port}\nfwmark=0\n")

    def change(self, changes: Sequence[Change]) -> None:
        if changes:
            self._order("".join(map(encode_change, changes)))

    def close(self) -> None:
        """Nothing stays open."""

    def _order(self, lines: str) -> None:
        answer = self._ask(f"set=1\n{lines}\n")
        number = _fields(answer).get("errno", "")
        if number != "0":
            code = int(number) if number.lstrip("-").isdecimal() and len(number) < 6 else 0
            reason = os.strerror(abs(code)).lower() if code else "no answer that can be understood"
            raise ClusterError(
                f"cannot configure {self._name}: {reason}",
                hint="see networking.listen_port if the port is in use, else the program's messages",
            )

    def _ask(self, question: str) -> str:
        answer = bytearray()
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_TIME_LIMIT)
                connection.connect(str(self._path))
                connection.sendall(question.encode())
                while not answer.endswith(b"\n\n"):
                    part = connection.recv(65536)
                    if not part or len(answer) > _MAX_ANSWER:
                        break
                    answer += part
        except OSError as error:
            reason = (error.strerror or "it takes too long").lower()
            raise ClusterError(
                f"the WireGuard program of {self._name} gives no answer: {reason}",
                hint=f"start it: wireguard-go {self._name}",
            ) from None
        return answer.decode("ascii", errors="replace")


def encode_change(change: Change) -> str:
    """Return `change` as lines of a set operation."""
    if isinstance(change, RemovePeer):
        return f"public_key={_hex(change.public_key)}\nremove=true\n"
    peer = change.peer
    lines = [f"public_key={_hex(peer.public_key)}"]
    if peer.endpoint is not None:
        address, port = peer.endpoint
        lines.append(f"endpoint=[{address}]:{port}" if ":" in address else f"endpoint={address}:{port}")
    lines += [f"persistent_keepalive_interval={peer.keepalive}", "replace_allowed_ips=true"]
    lines += [f"allowed_ip={network}" for network in peer.allowed_ips]
    return "".join(f"{line}\n" for line in lines)


def parse_device(answer: str) -> DeviceState:
    """Return what the answer to a get operation says; ClusterError when it is none.

    The private key in it goes no further than to its public key.
    """
    head, *blocks = answer.split("public_key=")
    if not answer.endswith("errno=0\n\n"):
        raise ClusterError("the WireGuard program gave no answer that can be understood")
    try:
        fields = _fields(head)
        private_key = bytes.fromhex(fields.get("private_key", ""))
        peers = [_parse_peer(block) for block in blocks]
        return DeviceState(
            public_key=encode_key(bindings.crypto_scalarmult_base(private_key)) if any(private_key) else None,
            listen_port=int(fields.get("listen_port", "0")),
            mark=int(fields.get("fwmark", "0")),
            peers={peer.public_key: peer for peer, _ in peers},
            preshared=frozenset(peer.public_key for peer, preshared in peers if preshared),
        )
    except (ValueError, TypeError):
        raise ClusterError("the WireGuard program gave no answer that can be understood") from None


def _parse_peer(block: str) -> tuple[MeshPeer, bool]:
    """Return the peer, and whether it has a preshared key."""
    key, _, rest = block.partition("\n")
    fields = _fields(rest)
    networks = [line.partition("=")[2] for line in rest.splitlines() if line.startswith("allowed_ip=")]
    peer = MeshPeer(
        public_key=encode_key(bytes.fromhex(key)),
        allowed_ips=tuple(sorted(str(ipaddress.ip_network(network)) for network in networks)),
        endpoint=_parse_endpoint(fields["endpoint"]) if "endpoint" in fields else None,
        keepalive=int(fields.get("persistent_keepalive_interval", "0")),
        handshake=int(fields.get("last_handshake_time_sec", "0")) or None,
        received=int(fields.get("rx_bytes", "0")),
        sent=int(fields.get("tx_bytes", "0")),
    )
    return peer, bool(fields.get("preshared_key", "").strip("0"))


def _parse_endpoint(text: str) -> Endpoint:
    address, _, port = text.rpartition(":")
    return str(ipaddress.ip_address(address.strip("[]"))), int(port)


def _fields(text: str) -> dict[str, str]:
    """Return the lines KEY=VALUE; of several with one key the last counts."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _hex(key: str) -> str:
    return base64.b64decode(key).hex()
