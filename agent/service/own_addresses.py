# SPDX-License-Identifier: Apache-2.0
"""The addresses of this machine on the underlay."""

from agent.discovery.mdns import list_addresses
from agent.discovery.underlay import choose_advertised, list_reachable


class OwnAddresses:
    """Lists them, and keeps to the one that is advertised as long as it is there."""

    def __init__(self, mesh_interface: str) -> None:
        self._mesh = mesh_interface
        self._advertised: str | None = None

    def list(self) -> tuple[str, ...]:
        """Return the addresses, the advertised one first; the mesh's own are none of them."""
        reachable = list_reachable([entry for entry in list_addresses() if entry.interface != self._mesh])
        self._advertised = choose_advertised(reachable, None, self._advertised)
        first = (self._advertised,) if self._advertised else ()
        return (*first, *(address for address in reachable if address != self._advertised))
