# SPDX-License-Identifier: Apache-2.0
"""The mesh interface of this node: keep it as it should be, look at its peers, change them.

Owns the link of the mesh with its addresses, its WireGuard key, port and peers. Everything is compared with
what is there, and only what differs is done, so `keep` may be called at every tick: it repairs a link that
was deleted, a program that was started anew, and what anybody else has configured.

The private key goes only through netlink or the program's socket.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nacl import bindings

from agent.cluster import MeshPeer
from agent.errors import ClusterError
from agent.mesh.device import Device, encode_key
from agent.mesh.kernel import KernelDevice
from agent.mesh.link import Link
from agent.mesh.link_plan import LinkSettings, LinkState, Nic, find_overlaps, plan_link
from agent.mesh.plan import Change, RemovePeer
from agent.mesh.userspace import SOCKETS, UserspaceDevice


@dataclass(frozen=True)
class MeshSettings:
    """The interface as it should be."""

    private_key: bytes = field(repr=False)  # 32 bytes
    listen_port: int  # UDP, on the underlay
    link: LinkSettings


@dataclass(frozen=True)
class Kept:
    """What `keep` did and what a person should know: parts of sentences. Both empty: all was right."""

    done: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Mesh:
    """The mesh interface. What cannot be done now raises ClusterError; trying again is always fine."""

    def __init__(self, link: Link, device: Device) -> None:
        self._link = link
        self._device = device

    @property
    def name(self) -> str:
        """The name of the link."""
        return self._link.name

    @property
    def kind(self) -> str:
        """Whose WireGuard it is: `kernel` or `userspace`."""
        return self._device.kind

    def keep(self, settings: MeshSettings) -> Kept:
        """Make the link and repair whatever is not as `settings` say; peers are not touched."""
        done = [f"made {self.name}"] if self._device.prepare(self._link) else []
        state = self._read_link(settings.link)
        if not state.addresses & settings.link.addresses.keys():
            self._refuse_overlap(settings.link)
        done += self._keep_device(settings)
        applied = self._link.apply(state.index, plan_link(self.name, state, settings.link))
        return Kept((*done, *applied.done), applied.warnings)

    def observe(self) -> dict[str, MeshPeer]:
        """Return the peers as they are, by public key."""
        return dict(self._device.read().peers)

    def apply(self, changes: Sequence[Change]) -> None:
        """Do the changes that agent.mesh.plan.diff found."""
        if changes:
            self._device.change(changes)

    def list_underlay(self) -> tuple[Nic, ...]:
        """Return the interfaces that may carry the mesh, for agent.mesh.mtu."""
        return self._link.list_underlay()

    def take_down(self) -> None:
        """Remove the link, and with it keys and peers; none is fine."""
        self._link.delete()

    def close(self) -> None:
        """Let go of sockets; the interface stays."""
        self._device.close()
        self._link.close()

    def _read_link(self, settings: LinkSettings) -> LinkState:
        state = self._link.read(settings)
        if state is None:
            raise ClusterError(f"{self.name} has just gone", hint="it is made again at the next look")
        return state

    def _refuse_overlap(self, settings: LinkSettings) -> None:
        """Raise ClusterError rather than take addresses from the network by which this machine is reached."""
        overlaps = find_overlaps(self._link.list_underlay(), settings)
        if overlaps:
            raise ClusterError(
                f"the mesh cannot be set up: {'; '.join(overlaps)}",
                hint="give the cluster another IPv4 range (cluster new --ipv4-range), or the network one",
            )

    def _keep_device(self, settings: MeshSettings) -> list[str]:
        state = self._device.read()
        done = []
        public_key = encode_key(bindings.crypto_scalarmult_base(settings.private_key))
        if (state.public_key, state.listen_port, state.mark) != (public_key, settings.listen_port, 0):
            self._device.configure(settings.private_key, settings.listen_port)
            done.append(f"set key and port of {self.name}")
        if state.preshared:
            # Whoever left them, there would be no handshake; without them the plan makes the peers anew.
            self._device.change([RemovePeer(key) for key in sorted(state.preshared)])
            done.append(f"removed {len(state.preshared)} peers that were not made here")
        return done


def open_mesh(name: str, *, sockets: Path = SOCKETS) -> Mesh:
    """Return the mesh interface `name`: by a WireGuard program where one runs for it, else by the kernel.

    `sockets` is the folder of such programs' sockets. Raises ClusterError when there is neither.
    """
    link, program = Link(name), UserspaceDevice(name, sockets)
    if program.answers:
        return Mesh(link, program)
    kernel = KernelDevice(name)
    try:
        kernel.prepare(link)
    except ClusterError as error:
        raise ClusterError(
            f"no WireGuard for {name}: {error.message}, and no program stands in",
            hint=f"use a kernel with the module wireguard, or start: wireguard-go {name}",
        ) from None
    return Mesh(link, kernel)
