# SPDX-License-Identifier: Apache-2.0
"""This node's end of the mesh: keeps the interface right, and its peers those that the ledger admits."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.cluster import Member, MeshPeer, Peer
from agent.config import Networking
from agent.errors import ClusterError
from agent.identity import wireguard_private_key
from agent.membership.addresses import mesh_ipv6
from agent.mesh import plan
from agent.mesh.interface import Mesh, MeshSettings, open_mesh
from agent.mesh.link_plan import LinkSettings
from agent.mesh.mtu import choose_mtu
from agent.mesh.nftables import set_ranges
from agent.mesh.sessions import Endpoint, Session, follow_sessions, is_live

LOOK_AGAIN = 10.0
"""Seconds between two looks at interface and peers while all is as it should be: a look takes milliseconds
of processor time, most of what an idle node uses."""


@dataclass(frozen=True)
class MeshView:
    """The mesh as the last look found it."""

    settings: LinkSettings | None = None
    peers: Mapping[str, MeshPeer] = field(default_factory=dict)  # by public key
    sessions: Mapping[str, Session] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Meshing:
    """The mesh interface as the loop sees it."""

    def __init__(self, config: Networking, seed: bytes) -> None:
        self._config = config
        self._key = wireguard_private_key(seed)
        self._mesh: Mesh | None = None
        self._ranges: tuple[str, ...] | None = None
        self._looked = float("-inf")
        self._settled: object = None  # what it was for that the last look found all as it should be
        self.view = MeshView()

    def keep(
        self,
        network: plan.MeshNetwork,
        members: Sequence[Member],
        gossip: Sequence[Peer],
        me: Member,
        *,
        known: Mapping[str, Sequence[Endpoint]],
        roles: Mapping[str, tuple[str, ...]],
        now: float,
    ) -> str:
        """Make interface and peers what they should be; return what was done, empty for nothing.

        `roles`: the addresses of the roles that each node holds. While nothing changes and every peer that
        gossips answers, it looks only now and then. Raises ClusterError when something cannot be done now.
        """
        given = (network, members, me, gossip, roles)
        if given == self._settled and now < self._looked + LOOK_AGAIN:
            return ""
        self._settled = None
        if self._mesh is None:
            self._mesh = open_mesh(self._config.interface)
        if self._ranges != network.ranges:
            # Before the interface is up: without its ranges the firewall shuts the mesh.
            set_ranges(network.ranges)
            self._ranges = network.ranges
        mtu = choose_mtu((nic.mtu for nic in self._mesh.list_underlay()), self._config.mtu)
        link = LinkSettings(
            ipv4=me.ipv4,
            ipv4_range=network.ipv4_range,
            ipv6=str(mesh_ipv6(network.cluster_id, me.node_id)),
            ipv6_range=network.ranges[1],
            mtu=mtu.value,
            roles=roles.get(me.node_id, ()),
        )
        kept = self._mesh.keep(MeshSettings(self._key, self._config.listen_port, link))
        observed = self._mesh.observe()
        sessions = follow_sessions(self.view.sessions, observed, now, time.time())
        wanted = plan.wanted_peers(
            network,
            members,
            gossip,
            me.node_id,
            observed=observed,
            sessions=sessions,
            now=now,
            keepalive=self._config.keepalive,
            known=known,
            roles=roles,
        )
        changes = plan.diff(observed, wanted)
        self._mesh.apply(changes)
        # So that the age of their first handshake does not come from the wall clock, which may be wrong.
        made = {change.peer.public_key for change in changes if isinstance(change, plan.SetPeer)}
        sessions |= {key: Session(None, now) for key in made - observed.keys()}
        warnings = (*kept.warnings, *((mtu.warning,) if mtu.warning else ()))
        self.view = MeshView(link, observed, sessions, warnings)
        # Who is not there is not looked for either (agent/mesh/endpoints.py).
        there = {plan.wireguard_key(peer.node_id) for peer in gossip if peer.alive} & wanted.keys()
        if not kept.done and not changes and all(is_live(sessions.get(key), now) for key in there):
            self._looked, self._settled = now, given
        return ", ".join(part for part in (*kept.done, plan.describe(changes)) if part)

    def take_down(self) -> None:
        """Remove the interface: this node is no member any more."""
        if self._mesh is None:
            try:
                self._mesh = open_mesh(self._config.interface)
            except ClusterError:
                return
        self._mesh.take_down()
        self._settled = None
        self.view = MeshView()
        if self._ranges != ():
            set_ranges(())
            self._ranges = ()

    def close(self) -> None:
        """Let go; the interface stays, as the agent may be started again."""
        if self._mesh is not None:
            self._mesh.close()
            self._mesh = None
