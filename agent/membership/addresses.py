# SPDX-License-Identifier: Apache-2.0
"""Mesh addresses, computed from keys: the same inputs give the same addresses on every node. Pure.

- IPv6: the ULA /48 (RFC 4193) `fd` and the first 5 bytes of SHA-256("cluster-os ula" NUL cluster id), subnet
  0, and as host part the first 8 bytes of SHA-256("cluster-os host" NUL public key).
- IPv6 of a role that moves from holder to holder: in the same network, with the first 8 bytes of
  SHA-256("cluster-os role" NUL role) as host part.
- IPv4: SHA-256("cluster-os ipv4" NUL public key NUL attempt in decimal), its first 8 bytes modulo the number
  of host addresses of the range. Where that one is taken the attempt is raised; when ATTEMPTS were taken, the
  next free address above the last attempt counts, so that a range is usable to its last address.
  Network and broadcast address are never given. Of several nodes at once the lower node ID chooses first.
"""

import hashlib
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from agent.errors import ClusterError
from agent.node_ids import public_key_of

ATTEMPTS = 32


def mesh_network(cluster_id: str) -> IPv6Network:
    """Return the /64 on which all nodes of the cluster have their IPv6 address."""
    prefix = b"\xfd" + _hash(b"cluster-os ula", cluster_id.encode())[:5]
    return IPv6Network((prefix + bytes(10), 64))


def mesh_ipv6(cluster_id: str, node_id: str) -> IPv6Address:
    """Return the IPv6 address of the node; ClusterError when `node_id` is none."""
    key = public_key_of(node_id)
    host = _hash(b"cluster-os host", key)[:8]
    return mesh_network(cluster_id).network_address + int.from_bytes(host)


def role_ipv6(cluster_id: str, role: str) -> IPv6Address:
    """Return the address of a role of kind leader: whoever holds the role has it."""
    host = _hash(b"cluster-os role", role.encode())[:8]
    return mesh_network(cluster_id).network_address + int.from_bytes(host)


def mesh_ipv4(ipv4_range: str, node_id: str, taken: Collection[str]) -> str:
    """Return the IPv4 address of the node, which is none of `taken`; ClusterError when the range is full."""
    network = IPv4Network(ipv4_range)
    key = public_key_of(node_id)
    hosts = network.num_addresses - 2
    offset = 0
    for attempt in range(ATTEMPTS):
        digest = _hash(b"cluster-os ipv4", key, str(attempt).encode())
        offset = int.from_bytes(digest[:8]) % hosts
        if (address := _host(network, offset)) not in taken:
            return address
    for step in range(1, hosts):
        if (address := _host(network, (offset + step) % hosts)) not in taken:
            return address
    raise ClusterError(
        f"no address is left in {ipv4_range}",
        hint="remove members that are gone for good: node-agent remove ID",
    )


def assign_ipv4(ipv4_range: str, node_ids: Iterable[str], taken: Collection[str] = ()) -> dict[str, str]:
    """Return the IPv4 address of each node, whatever their order; ClusterError when the range is full."""
    used = set(taken)
    found = {}
    for node_id in sorted(set(node_ids)):
        found[node_id] = mesh_ipv4(ipv4_range, node_id, used)
        used.add(found[node_id])
    return found


def _host(network: IPv4Network, offset: int) -> str:
    return str(IPv4Address(int(network.network_address) + 1 + offset))


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha256(b"\0".join(parts)).digest()
