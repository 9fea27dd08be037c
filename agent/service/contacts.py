# SPDX-License-Identifier: Apache-2.0
"""Where other members were last seen. Owns contacts.json.

A member that comes back when gossip has a new key, or when everybody was off, finds the others by these. They
are rumours: WireGuard and Serf prove who is there.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from agent import files
from agent.cluster import Ledger, Peer
from agent.discovery.join_plan import join_port
from agent.mesh.plan import wireguard_key
from agent.mesh.sessions import Endpoint, is_live
from agent.service.meshing import MeshView

WRITE_AGAIN = 60.0  # seconds between two writes
MOST = 10_000


class Contacts:
    """Endpoints (underlay address, WireGuard port) by node ID."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.endpoints: Mapping[str, tuple[Endpoint, ...]] = _read(file)
        self._written = dict(self.endpoints)
        self._write_at = 0.0
        self._handshakes: Mapping[str, int] = {}  # the last one with each member
        self._back: set[str] = set()

    def note(self, peers: Iterable[Peer], mesh: MeshView, ledger: Ledger, now: float) -> None:
        """Note where members are, and write it down when it changed, now and then."""
        found: dict[str, tuple[Endpoint, ...]] = {}
        handshakes: dict[str, int] = {}
        gossip = {(peer.node_id, peer.hardware): peer for peer in peers if peer.alive}
        for node_id, member in ledger.members.items():
            key = wireguard_key(node_id)
            session, peer = mesh.sessions.get(key), gossip.get((node_id, member.hardware))
            if session is not None and session.endpoint is not None and is_live(session, now):
                found[node_id] = (session.endpoint,)
                if session.handshake is not None:
                    handshakes[node_id] = session.handshake
                    if peer is None and session.handshake != self._handshakes.get(node_id):
                        self._back.add(session.endpoint[0])
            elif peer is not None:
                found[node_id] = ((peer.address, peer.wireguard_port),)
            elif node_id in self.endpoints:
                found[node_id] = tuple(self.endpoints[node_id])
        self.endpoints, self._handshakes = found, handshakes
        if found != self._written and now >= self._write_at:
            self._write_at = now + WRITE_AGAIN
            self._written = found
            files.replace(self._file, json.dumps(found, indent=1).encode() + b"\n", mode=0o600)

    def gossip_addresses(self, port: int) -> tuple[str, ...]:
        """Return the addresses (host:port) at which members may gossip."""
        hosts = {endpoint[0] for endpoints in self.endpoints.values() for endpoint in endpoints}
        return tuple(join_port(host, port) for host in sorted(hosts))

    def take_back(self, port: int) -> tuple[str, ...]:
        """Return the addresses (host:port) of members that are back on the mesh and not in the gossip.

        Each once for each handshake. After a long partition nobody's Serf knows the other side, and the mesh,
        which forgets no member, finds it first.
        """
        hosts, self._back = self._back, set()
        return tuple(join_port(host, port) for host in sorted(hosts))


def _read(file: Path) -> dict[str, tuple[Endpoint, ...]]:
    """Return what the file holds; a damaged one holds nothing, as all of it is found again."""
    try:
        content = json.loads(file.read_bytes())
        return {
            str(node_id): tuple((str(address), int(port)) for address, port in endpoints)
            for node_id, endpoints in list(content.items())[:MOST]
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
