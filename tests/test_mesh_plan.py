# SPDX-License-Identifier: Apache-2.0
"""Which WireGuard peers a node wants, and the fewest changes that lead there."""

import dataclasses
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from agent.cluster import Member, MeshPeer, Peer
from agent.identity import identity_of_seed
from agent.membership.addresses import assign_ipv4, mesh_ipv6
from agent.mesh.plan import (
    Change,
    MeshNetwork,
    RemovePeer,
    SetPeer,
    describe,
    diff,
    wanted_peers,
    wireguard_key,
)
from agent.mesh.sessions import Session

NETWORK = MeshNetwork("abcdefghijklmnopqrstuvwxyz", "10.77.0.0/16")
IDS = sorted(identity_of_seed(bytes([number]) * 32).node_id for number in range(12))
IPV4 = assign_ipv4(NETWORK.ipv4_range, IDS)
NOW = 1000.0


def member(index: int, **changes: object) -> Member:
    plain = Member(IDS[index], f"{index:012x}", IPV4[IDS[index]], None, number=index)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def gossip(index: int, **changes: object) -> Peer:
    plain = Peer(
        name=f"{IDS[index]}.{index:012x}",
        node_id=IDS[index],
        hardware=f"{index:012x}",
        address=f"192.0.2.{index}",
        alive=True,
        phase="m",
        genesis="0" * 64,
        wireguard_port=51820,
        addresses=(),
        voter=False,
        seen=0.0,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def want(
    members: Sequence[Member],
    seen: Sequence[Peer] = (),
    *,
    observed: Mapping[str, MeshPeer] | None = None,
    sessions: Mapping[str, Session] | None = None,
    known: Mapping[str, Sequence[tuple[str, int]]] | None = None,
) -> dict[str, MeshPeer]:
    return wanted_peers(
        NETWORK,
        members,
        seen,
        IDS[0],
        observed=observed or {},
        sessions=sessions or {},
        now=NOW,
        known=known,
    )


def carry_out(observed: Mapping[str, MeshPeer], changes: Sequence[Change]) -> dict[str, MeshPeer]:
    """Do to `observed` what WireGuard does: an allowed IP that one peer gets is taken from the others."""
    peers = dict(observed)
    for change in changes:
        if isinstance(change, RemovePeer):
            del peers[change.public_key]
            continue
        peer = change.peer
        before = peers.get(peer.public_key)
        for key, other in peers.items():
            rest = tuple(ip for ip in other.allowed_ips if ip not in peer.allowed_ips)
            peers[key] = dataclasses.replace(other, allowed_ips=rest)
        if peer.endpoint is None and before is not None:
            peer = dataclasses.replace(peer, endpoint=before.endpoint)
        peers[peer.public_key] = peer
    return peers


def test_every_admitted_member_but_oneself_is_a_peer_whether_it_gossips_or_not() -> None:
    wanted = want([member(0), member(1), member(2)], [gossip(0), gossip(1, alive=False)])
    assert set(wanted) == {wireguard_key(IDS[1]), wireguard_key(IDS[2])}


def test_who_gossips_without_being_a_member_is_no_peer() -> None:
    assert set(want([member(0), member(1)], [gossip(1), gossip(2)])) == {wireguard_key(IDS[1])}


def test_a_peer_may_send_from_its_own_two_addresses_only() -> None:
    ipv6 = mesh_ipv6(NETWORK.cluster_id, IDS[1])
    wanted = want([member(1)])[wireguard_key(IDS[1])]
    assert wanted.allowed_ips == (f"{IPV4[IDS[1]]}/32", f"{ipv6}/128")
    assert wanted.keepalive == 25


def test_two_members_with_one_address_leave_it_to_the_one_admitted_first_on_every_node() -> None:
    twin = member(2, ipv4=IPV4[IDS[1]])
    for order in ([member(1), twin], [twin, member(1)]):
        wanted = want(order)
        assert f"{IPV4[IDS[1]]}/32" in wanted[wireguard_key(IDS[1])].allowed_ips
        assert wanted[wireguard_key(IDS[2])].allowed_ips == (f"{mesh_ipv6(NETWORK.cluster_id, IDS[2])}/128",)


def test_where_a_clone_of_a_member_is_does_not_matter() -> None:
    clone = gossip(1, hardware="f" * 12, address="192.0.2.66", seen=900.0)
    wanted = want([member(1)], [gossip(1), clone])
    assert wanted[wireguard_key(IDS[1])].endpoint == ("192.0.2.1", 51820)
    assert want([member(1)], [clone])[wireguard_key(IDS[1])].endpoint is None


def test_a_member_that_gossip_has_not_seen_is_tried_where_it_was_known() -> None:
    wanted = want([member(1)], known={IDS[1]: [("198.51.100.7", 4000)]})
    assert wanted[wireguard_key(IDS[1])].endpoint == ("198.51.100.7", 4000)


def test_a_live_session_is_not_moved_by_what_gossip_says() -> None:
    key = wireguard_key(IDS[1])
    roamed = ("203.0.113.9", 33333)
    observed = {key: dataclasses.replace(want([member(1)])[key], endpoint=roamed, handshake=1)}
    sessions = {key: Session(1, NOW - 179, roamed)}
    assert diff(observed, want([member(1)], [gossip(1)], observed=observed, sessions=sessions)) == ()


def test_a_dead_session_is_moved_to_where_gossip_sees_the_peer() -> None:
    key = wireguard_key(IDS[1])
    old = ("203.0.113.9", 33333)
    observed = {key: dataclasses.replace(want([member(1)])[key], endpoint=old, handshake=1)}
    sessions = {key: Session(1, NOW - 181, old)}
    wanted = want([member(1)], [gossip(1)], observed=observed, sessions=sessions)
    (change,) = diff(observed, wanted)
    assert isinstance(change, SetPeer)
    assert change.peer.endpoint == ("192.0.2.1", 51820)


def test_an_endpoint_that_is_right_is_not_set_again_beside_another_change() -> None:
    """Between look and change the peer could have moved; the change must not send it back."""
    observed = want([member(1)], [gossip(1)])
    key = wireguard_key(IDS[1])
    wanted = {key: dataclasses.replace(observed[key], keepalive=7)}
    assert diff(observed, wanted) == (SetPeer(dataclasses.replace(wanted[key], endpoint=None)),)


def test_a_foreign_peer_is_removed() -> None:
    foreign = MeshPeer("A" * 43 + "=", ("0.0.0.0/0",), None, 0)
    assert diff({foreign.public_key: foreign}, {}) == (RemovePeer(foreign.public_key),)


def test_changes_are_said_in_words() -> None:
    assert describe(()) == ""
    peer = want([member(1)])[wireguard_key(IDS[1])]
    assert describe([SetPeer(peer)]) == "set 1 mesh peer"
    assert (
        describe([RemovePeer("x"), RemovePeer("y"), SetPeer(peer)]) == "set 1 mesh peer, removed 2 mesh peers"
    )


_ADDRESSES = [f"10.77.0.{number}/32" for number in range(1, 9)]


@st.composite
def peer_sets(draw: st.DrawFn) -> dict[str, MeshPeer]:
    """Some peers, no two with one address."""
    left = draw(st.permutations(_ADDRESSES))
    peers = {}
    for key in draw(st.lists(st.sampled_from("abcdef"), unique=True)):
        count = draw(st.integers(0, min(2, len(left))))
        mine, left = left[:count], left[count:]
        peers[key] = MeshPeer(
            public_key=key,
            allowed_ips=tuple(sorted(mine)),
            endpoint=draw(st.sampled_from([("192.0.2.1", 1), ("192.0.2.2", 2)])),
            keepalive=draw(st.sampled_from([0, 25])),
        )
    return peers


@given(peer_sets(), peer_sets())
def test_the_changes_lead_from_any_state_to_the_wanted_one(
    observed: dict[str, MeshPeer], wanted: dict[str, MeshPeer]
) -> None:
    assert carry_out(observed, diff(observed, wanted)) == wanted


@given(peer_sets())
def test_nothing_changes_where_all_is_as_wanted(peers: dict[str, MeshPeer]) -> None:
    seen = {key: dataclasses.replace(peer, handshake=1, received=2, sent=3) for key, peer in peers.items()}
    unsaid = {key: dataclasses.replace(peer, endpoint=None) for key, peer in peers.items()}
    assert diff(peers, peers) == diff(seen, peers) == diff(seen, unsaid) == ()


@given(st.sets(st.integers(1, 11)), st.integers(1, 11))
def test_one_more_member_changes_one_peer_and_its_going_removes_one(others: set[int], new: int) -> None:
    before = [member(0), *(member(index) for index in sorted(others - {new}))]
    after = [*before, member(new)]
    seen = [gossip(index) for index in range(12)]
    observed, grown = want(before, seen), want(after, seen)
    (added,) = diff(observed, grown)
    assert isinstance(added, SetPeer)
    assert added.peer.public_key == wireguard_key(IDS[new])
    assert diff(grown, observed) == (RemovePeer(wireguard_key(IDS[new])),)


@given(st.permutations(range(12)))
def test_the_order_of_the_members_does_not_matter(order: list[int]) -> None:
    assert want([member(index) for index in order]) == want([member(index) for index in range(12)])
