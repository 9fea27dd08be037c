# SPDX-License-Identifier: Apache-2.0
"""Mesh addresses: the same for all, in the range, and for each node its own."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.membership.addresses import assign_ipv4, mesh_ipv4, mesh_ipv6, mesh_network

CLUSTER = "abcdefghijklmnopqrstuvwxyz"
NODES = [identity_of_seed(bytes([number]) * 32).node_id for number in range(1, 120)]
RANGES = st.sampled_from(["10.86.0.0/16", "192.168.7.0/24", "172.16.0.128/25", "10.0.0.0/8", "100.64.3.0/26"])
SOME = st.lists(st.sampled_from(NODES), min_size=1, max_size=40, unique=True)


def test_addresses_never_change_as_released_nodes_have_them() -> None:
    assert str(mesh_network(CLUSTER)) == "fdab:5b49:10e7::/64"
    assert str(mesh_ipv6(CLUSTER, NODES[0])) == "fdab:5b49:10e7:0:b510:c849:55d2:63a7"
    assert mesh_ipv4("10.86.0.0/16", NODES[0], ()) == "10.86.242.123"


def test_ipv6_addresses_are_unique_local_and_in_the_network_of_the_cluster() -> None:
    addresses = {mesh_ipv6(CLUSTER, node) for node in NODES}
    assert len(addresses) == len(NODES)
    assert all(address in mesh_network(CLUSTER) for address in addresses)
    assert mesh_network(CLUSTER).subnet_of(IPv6Network("fd00::/8"))
    assert mesh_network("b" * 26) != mesh_network(CLUSTER)


@settings(deadline=None)
@given(RANGES, SOME, st.randoms(use_true_random=False))
def test_the_order_of_founders_does_not_matter(ipv4_range: str, nodes: list[str], random: object) -> None:
    shuffled = list(nodes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert assign_ipv4(ipv4_range, nodes) == assign_ipv4(ipv4_range, shuffled)


@settings(deadline=None)
@given(RANGES, SOME, st.data())
def test_addresses_are_hosts_of_the_range_and_different(
    ipv4_range: str, nodes: list[str], data: st.DataObject
) -> None:
    network = IPv4Network(ipv4_range)
    first = network.network_address
    taken = data.draw(st.sets(st.integers(1, 20).map(lambda number: str(first + number)), max_size=20))
    found = [IPv4Address(address) for address in assign_ipv4(ipv4_range, nodes, taken).values()]
    assert len(set(found)) == len(nodes)
    assert not {str(address) for address in found} & taken
    assert all(address in network for address in found)
    assert network.network_address not in found
    assert network.broadcast_address not in found


@settings(deadline=None)
@given(SOME)
def test_who_is_there_first_keeps_its_address(nodes: list[str]) -> None:
    *others, late = nodes
    before = assign_ipv4("192.168.7.0/24", others)
    address = mesh_ipv4("192.168.7.0/24", late, set(before.values()))
    assert address not in before.values()


def test_a_collision_is_settled_for_the_lower_node_id() -> None:
    small = "10.0.0.0/28"
    alone = {node: mesh_ipv4(small, node, ()) for node in NODES}
    low, high = sorted(
        next([one, other] for one in NODES for other in NODES if one != other and alone[one] == alone[other])
    )
    found = assign_ipv4(small, [high, low])
    assert found[low] == alone[low]
    assert found[high] != alone[high]


def test_a_range_can_be_filled_to_its_last_address() -> None:
    found = assign_ipv4("10.0.0.0/26", NODES[:62])
    assert set(found.values()) == {str(host) for host in IPv4Network("10.0.0.0/26").hosts()}
    with pytest.raises(ClusterError, match=r"no address is left in 10\.0\.0\.0/26") as caught:
        mesh_ipv4("10.0.0.0/26", NODES[62], set(found.values()))
    assert "node-agent remove" in caught.value.hint
