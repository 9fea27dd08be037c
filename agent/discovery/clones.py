# SPDX-License-Identifier: Apache-2.0
"""Notice copied disks: one node ID, alive on more than one piece of hardware. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from agent.cluster import Peer


class Clone(NamedTuple):
    """A node ID that more than one machine has at this moment; which is the original is not for here."""

    node_id: str
    names: tuple[str, ...]  # in Serf, sorted: NODE_ID.HARDWARE
    addresses: tuple[str, ...]  # underlay, in the order of `names`


def find_clones(peers: Iterable[Peer]) -> tuple[Clone, ...]:
    """Return the clones among `peers` (of all states), sorted by node ID.

    A machine whose board was changed is no clone: its former name is not alive any more.
    """
    alive: dict[str, list[Peer]] = {}
    for peer in peers:
        if peer.alive:
            alive.setdefault(peer.node_id, []).append(peer)
    found = []
    for node_id, same in sorted(alive.items()):
        by_name = {peer.name: peer.address for peer in sorted(same, key=lambda peer: peer.name)}
        if len(by_name) > 1:
            found.append(Clone(node_id, tuple(by_name), tuple(by_name.values())))
    return tuple(found)
