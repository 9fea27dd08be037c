# SPDX-License-Identifier: Apache-2.0
"""WireGuard of the kernel, by its generic netlink family, through pyroute2. Linux' uapi/linux/wireguard.h.

Owns private key, port and peers of the link. What pyroute2 0.7.7 (the image's) does that one must know:

- It sets the kernel's flag REPLACE_ALLOWEDIPS on every peer (under a wrong name, UPDATE_ONLY), so a peer that
  is set without allowed IPs loses them: they are always given. Versions from 0.9 on append instead, unless
  `replace_allowed_ips` says otherwise, which 0.7.7 does not read.
- `set` takes one peer. A dump of many peers comes in several messages; the kernel may begin the next one with
  the rest of the last one's allowed IPs, under the same public key.
- An answer that was not fetched would be taken for the next one: after an error the socket is closed.
"""

import errno
import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from pyroute2 import NetlinkError, WireGuard
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted

from agent.cluster import MeshPeer
from agent.errors import ClusterError
from agent.mesh.device import DeviceState, encode_key
from agent.mesh.link import Link, refused
from agent.mesh.plan import Change, RemovePeer

LINK_KIND = "wireguard"
_LOOKS = 3  # at a device that changes while it is being read
_NO_KEY = encode_key(bytes(32))


class _Message(Protocol):
    """An answer of the kernel as pyroute2 gives it."""

    def get_attr(self, name: str) -> Any: ...  # noqa: ANN401 - an attribute has the type that the kernel says


class _WireGuard(WireGuard):  # type: ignore[misc]  # pyroute2 has no types
    # A kernel without WireGuard is no error to log: our own message says it.
    module_err_level = "debug"


class KernelDevice:
    """The WireGuard device `name` of the kernel; see agent.mesh.device.Device."""

    kind = "kernel"

    def __init__(self, name: str) -> None:
        self._name = name
        self._wireguard: WireGuard | None = None

    def prepare(self, link: Link) -> bool:
        # Has the kernel load its module; where there is none nothing is touched.
        self._open()
        kind = link.kind()
        if kind == LINK_KIND:
            return False
        if kind is not None:
            link.delete()
        link.create(LINK_KIND)
        return True

    def read(self) -> DeviceState:
        with self._netlink("read") as wireguard:
            for look in range(_LOOKS):
                try:
                    return parse_device(wireguard.info(self._name))
                except NetlinkDumpInterrupted:
                    if look == _LOOKS - 1:
                        raise
            raise AssertionError("not reached")

    def configure(self, private_key: bytes, listen_port: int) -> None:
        with self._netlink("configure") as wireguard:
            wireguard.set(self._name, private_key=encode_key(private_key), listen_port=listen_port, fwmark=0)

    def change(self, changes: Sequence[Change]) -> None:
        with self._netlink("change the peers of") as wireguard:
            for change in changes:
                wireguard.set(self._name, peer=peer_request(change))

    def close(self) -> None:
        if self._wireguard is not None:
            self._wireguard.close()
            self._wireguard = None

    def _open(self) -> WireGuard:
        if self._wireguard is None:
            try:
                self._wireguard = _WireGuard()
            except (NetlinkError, OSError) as error:
                if getattr(error, "code", None) == errno.ENOENT:
                    hint = "use a kernel with the module wireguard"
                    raise ClusterError("the kernel has no WireGuard", hint=hint) from None
                raise refused("cannot ask for WireGuard", error) from None
        return self._wireguard

    @contextmanager
    def _netlink(self, doing: str) -> Iterator[WireGuard]:
        wireguard = self._open()
        try:
            yield wireguard
        except (NetlinkError, OSError) as error:
            self.close()
            raise refused(f"cannot {doing} {self._name}", error) from None


def peer_request(change: Change) -> dict[str, Any]:
    """Return `change` as the argument `peer` of pyroute2's WireGuard.set."""
    if isinstance(change, RemovePeer):
        return {"public_key": change.public_key, "remove": True}
    peer = change.peer
    request: dict[str, Any] = {
        "public_key": peer.public_key,
        "persistent_keepalive": peer.keepalive,
        "allowed_ips": list(peer.allowed_ips),
        "replace_allowed_ips": True,
    }
    if peer.endpoint is not None:
        request["endpoint_addr"], request["endpoint_port"] = peer.endpoint
    return request


def parse_device(messages: Sequence[_Message]) -> DeviceState:
    """Return what the messages of one dump say."""
    public_key, listen_port, mark = None, 0, 0
    peers: dict[str, MeshPeer] = {}
    preshared = set()
    for message in messages:
        if key := message.get_attr("WGDEVICE_A_PUBLIC_KEY"):
            public_key = _key(key)
        listen_port = message.get_attr("WGDEVICE_A_LISTEN_PORT") or listen_port
        mark = message.get_attr("WGDEVICE_A_FWMARK") or mark
        for found in message.get_attr("WGDEVICE_A_PEERS") or ():
            peer = _parse_peer(found)
            if before := peers.get(peer.public_key):
                rest = (*before.allowed_ips, *peer.allowed_ips)
                peers[peer.public_key] = replace(before, allowed_ips=tuple(sorted(rest)))
                continue
            peers[peer.public_key] = peer
            secret = found.get_attr("WGPEER_A_PRESHARED_KEY")
            if secret is not None and _key(secret) != _NO_KEY:
                preshared.add(peer.public_key)
    return DeviceState(public_key, listen_port, mark, peers, frozenset(preshared))


def _parse_peer(found: _Message) -> MeshPeer:
    endpoint = found.get_attr("WGPEER_A_ENDPOINT")
    handshake = found.get_attr("WGPEER_A_LAST_HANDSHAKE_TIME")
    allowed = (ip["addr"] for ip in found.get_attr("WGPEER_A_ALLOWEDIPS") or ())
    return MeshPeer(
        public_key=_key(found.get_attr("WGPEER_A_PUBLIC_KEY")),
        allowed_ips=tuple(sorted(str(ipaddress.ip_network(network)) for network in allowed)),
        endpoint=(endpoint["addr"], endpoint["port"]) if endpoint else None,
        keepalive=found.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") or 0,
        handshake=(handshake["tv_sec"] if handshake else 0) or None,
        received=found.get_attr("WGPEER_A_RX_BYTES") or 0,
        sent=found.get_attr("WGPEER_A_TX_BYTES") or 0,
    )


def _key(attribute: Any) -> str:  # noqa: ANN401 - pyroute2 gives a dictionary, or its value alone
    value = attribute["value"] if isinstance(attribute, dict) else attribute
    return value.decode() if isinstance(value, bytes) else str(value)
