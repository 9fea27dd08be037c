# SPDX-License-Identifier: Apache-2.0
"""The MTU of the mesh, and how its health is told."""

import pytest

from agent.cluster import Member, MeshPeer
from agent.identity import identity_of_seed
from agent.mesh.health import PeerState, assess
from agent.mesh.mtu import choose_mtu
from agent.mesh.plan import wireguard_key
from agent.mesh.sessions import Session

IDS = sorted(identity_of_seed(bytes([number]) * 32).node_id for number in range(8))
MEMBERS = [Member(node_id, "0" * 12, f"10.77.0.{i}", None, i) for i, node_id in enumerate(IDS)]
NAMES = [f"n-{node_id[:10].lower()}" for node_id in IDS]


@pytest.mark.parametrize(
    ("underlay", "mtu"),
    [([1500], 1420), ([1500, 1400], 1320), ([], 1420), ([9000], 1420), ([65536, 1460], 1380), ([1360], 1280)],
)
def test_the_mtu_is_that_of_the_narrowest_interface_less_what_wireguard_adds(
    underlay: list[int], mtu: int
) -> None:
    found = choose_mtu(underlay)
    assert (found.value, found.warning) == (mtu, "")


def test_the_mtu_never_falls_below_what_ipv6_needs_and_the_price_is_said() -> None:
    found = choose_mtu([1280, 1500])
    assert found.value == 1280
    assert "1280: packets of the mesh are fragmented" in found.warning


def test_a_configured_mtu_counts_and_is_criticised_where_it_does_not_fit() -> None:
    assert choose_mtu([9000], 8920).value == 8920
    assert choose_mtu([9000], 8920).warning == ""
    assert choose_mtu([1500], 1300).warning == ""
    assert "carry no more than 1420" in choose_mtu([1500], 1421).warning
    low = choose_mtu([1500], 600)
    assert (low.value, "least" in low.warning) == (1280, True)


def _peer(index: int, endpoint: tuple[str, int] | None = None) -> MeshPeer:
    return MeshPeer(wireguard_key(IDS[index]), (), endpoint, 25, received=10 + index, sent=20 + index)


def test_a_peer_is_up_stale_or_was_never_reached() -> None:
    observed = {peer.public_key: peer for peer in (_peer(1, ("192.0.2.1", 9)), _peer(2), _peer(3))}
    sessions = {
        wireguard_key(IDS[1]): Session(1, 900.0),
        wireguard_key(IDS[2]): Session(1, 700.0),
        wireguard_key(IDS[3]): Session(None, 0.0),
    }
    found = assess(MEMBERS[:5], IDS[0], observed, sessions, now=1000.0)
    assert [(peer.state, peer.age) for peer in found.peers] == [
        (PeerState.UP, 100.0),
        (PeerState.STALE, 300.0),
        (PeerState.NEVER, None),
        (PeerState.NEVER, None),
    ]
    assert (found.peers[0].endpoint, found.peers[0].received, found.peers[0].sent) == (
        ("192.0.2.1", 9),
        11,
        21,
    )
    assert found.sentence == (
        f"1 of 4 mesh peers up; no handshake lately: {NAMES[2]}; no handshake yet: {NAMES[3]}, {NAMES[4]}"
    )


def test_the_sentence_names_a_few_and_counts_the_rest() -> None:
    found = assess(MEMBERS, IDS[0], {}, {}, now=0.0)
    assert found.sentence == (
        f"0 of 7 mesh peers up; no handshake yet: {NAMES[1]}, {NAMES[2]}, {NAMES[3]} and 4 more"
    )


def test_a_cluster_of_one_has_no_peers_and_a_healthy_one_is_told_shortly() -> None:
    assert assess(MEMBERS[:1], IDS[0], {}, {}, now=0.0).sentence == "the mesh has no other member"
    observed = {wireguard_key(IDS[1]): _peer(1)}
    sessions = {wireguard_key(IDS[1]): Session(5, 0.0)}
    assert assess(MEMBERS[:2], IDS[0], observed, sessions, now=1.0).sentence == "1 of 1 mesh peer up"
