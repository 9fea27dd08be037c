# SPDX-License-Identifier: Apache-2.0
"""What both kinds of WireGuard have in common: the state of a device, and the orders to it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.cluster import MeshPeer
from agent.mesh.link import Link
from agent.mesh.plan import Change


@dataclass(frozen=True)
class DeviceState:
    """A WireGuard device as it is. No private key in it."""

    public_key: str | None  # base64; None: it has no key yet
    listen_port: int
    mark: int  # on its outer packets; ours sets none
    peers: Mapping[str, MeshPeer] = field(default_factory=dict)  # by public key
    preshared: frozenset[str] = frozenset()  # public keys of peers with a preshared key, which ours have not


class Device(Protocol):
    """A WireGuard device. Every method raises ClusterError when it cannot be done now."""

    @property
    def kind(self) -> str:
        """`kernel` or `userspace`."""

    def prepare(self, link: Link) -> bool:
        """See that the link is there and is WireGuard's; return whether it had to be made."""

    def read(self) -> DeviceState:
        """Return the device as it is."""

    def configure(self, private_key: bytes, listen_port: int) -> None:
        """Set the private key (32 bytes) and the UDP port, and no mark; peers stay."""

    def change(self, changes: Sequence[Change]) -> None:
        """Do the changes in their order."""

    def close(self) -> None:
        """Let go of sockets; the device stays."""


def encode_key(key: bytes) -> str:
    """Return the usual form of a key: base64."""
    return base64.b64encode(key).decode()
