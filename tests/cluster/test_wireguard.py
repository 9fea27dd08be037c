# SPDX-License-Identifier: Apache-2.0
"""Our mesh on a real WireGuard: three machines in network namespaces, with wireguard-go in each."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import ClusterError
from agent.membership.addresses import role_ipv6
from agent.mesh.interface import open_mesh
from agent.mesh.link_plan import LinkSettings
from agent.mesh.plan import RemovePeer, SetPeer
from agent.mesh.sessions import LIVE_SECONDS
from harness import processes
from harness.waiting import wait_for
from image.toolstree import ToolsTree
from tests.cluster.mesh_node import NETWORK, PORT, REACH_LIMIT, MeshNode
from tests.cluster.switch import SUBNET, Switch


@pytest.fixture(scope="module")
def running(tools: ToolsTree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[MeshNode]]:
    folder = tmp_path_factory.mktemp("mesh")
    switch = Switch(folder)
    started: list[MeshNode] = []
    try:
        for number in (1, 2, 3):
            started.append(MeshNode(number, folder, switch, tools))
        yield started
    finally:
        for node in started:
            node.end()
        processes.end_all(folder, grace=2)


@pytest.fixture
def nodes(running: list[MeshNode]) -> list[MeshNode]:
    """Three machines, each a peer of the others, with live sessions."""
    for node in running:
        node.lead = 0.0
        node.tick(running)
    for node in running:
        for other in running:
            if other is not node:
                node.wait_reaches(other.ipv4)
    for node in running:
        node.tick(running)
    return running


def test_members_reach_each_other_by_ipv4_and_by_ipv6(nodes: list[MeshNode]) -> None:
    one, two, three = nodes
    for node, other in ((one, two), (two, three), (three, one)):
        node.wait_reaches(other.ipv4)
        node.wait_reaches(other.ipv6)
    assert one.mesh.kind == "userspace"
    peers = one.observe()
    assert set(peers) == {two.key, three.key}
    assert peers[two.key].endpoint == (f"{SUBNET}.2", PORT)
    assert peers[two.key].handshake
    assert peers[two.key].received > 0
    assert peers[two.key].keepalive == 25


def test_a_second_look_finds_nothing_to_do(nodes: list[MeshNode]) -> None:
    for node in nodes:
        kept = node.keep()
        assert (kept.done, kept.warnings) == ((), ())
        assert node.tick(nodes) == ()


def test_a_new_member_touches_one_peer_and_a_removed_one_is_gone_everywhere(nodes: list[MeshNode]) -> None:
    one, two, three = nodes
    for node in (one, two):
        assert node.tick([one, two]) == (RemovePeer(three.key),)
    assert set(one.observe()) == {two.key}
    assert not one.reaches(three.ipv4)
    assert not three.reaches(one.ipv6)

    before = one.observe()[two.key]
    (change,) = one.tick(nodes)
    assert isinstance(change, SetPeer)
    assert change.peer.public_key == three.key
    two.tick(nodes)
    one.wait_reaches(three.ipv4)
    after = one.observe()[two.key]
    assert (after.handshake, after.endpoint) == (before.handshake, before.endpoint)


def test_a_live_session_is_not_moved_by_a_rumour_and_a_dead_one_is(nodes: list[MeshNode]) -> None:
    one, two, three = nodes
    lie = [two.gossip(f"{SUBNET}.99", f"{SUBNET}.2"), three.gossip()]
    assert one.tick(nodes, lie) == ()
    assert one.observe()[two.key].endpoint == (f"{SUBNET}.2", PORT)

    one.lead = LIVE_SECONDS + 1
    moved = [change.peer for change in one.tick(nodes, lie) if isinstance(change, SetPeer)]
    assert [(peer.public_key, peer.endpoint) for peer in moved] == [(two.key, (f"{SUBNET}.99", PORT))]
    assert one.observe()[two.key].endpoint == (f"{SUBNET}.99", PORT)

    # No answer came from there: some seconds later the address that it announces is tried.
    one.lead += 11
    one.tick(nodes, lie)
    assert one.observe()[two.key].endpoint == (f"{SUBNET}.2", PORT)
    one.wait_reaches(two.ipv4)


def test_a_peer_whose_address_changes_is_followed_without_anybody_saying_so(nodes: list[MeshNode]) -> None:
    one, two, three = nodes
    two.run("ip", "address", "delete", f"{SUBNET}.2/24", "dev", "eth0")
    two.run("ip", "address", "add", f"{SUBNET}.22/24", "dev", "eth0")
    try:
        two.wait_reaches(one.ipv4)
        assert one.observe()[two.key].endpoint == (f"{SUBNET}.22", PORT)
        # Gossip has not noticed yet; the session is not led back.
        assert one.tick(nodes) == ()
        one.wait_reaches(two.ipv4)
    finally:
        two.run("ip", "address", "delete", f"{SUBNET}.22/24", "dev", "eth0")
        two.run("ip", "address", "add", f"{SUBNET}.2/24", "dev", "eth0")
        for other in (one, three):
            two.wait_reaches(other.ipv4)


def test_a_program_that_was_killed_is_missed_and_all_is_set_up_again_when_it_is_back(
    nodes: list[MeshNode],
) -> None:
    one, two, _ = nodes
    two.kill()
    with pytest.raises(ClusterError, match="gives no answer"):
        two.keep()
    two.start()
    assert len(two.tick(nodes)) == 2
    two.wait_reaches(one.ipv4)
    one.wait_reaches(two.ipv6)


def test_a_link_that_was_deleted_under_us_is_repaired(nodes: list[MeshNode]) -> None:
    one, two, _ = nodes
    two.run("ip", "link", "delete", two.link)
    # The program ends with its link.
    two.wait_ended()
    with pytest.raises(ClusterError):
        two.keep()
    two.start()
    two.tick(nodes)
    two.wait_reaches(one.ipv4)


def test_a_configuration_that_is_not_ours_is_repaired(nodes: list[MeshNode], tmp_path: Path) -> None:
    one, two, three = nodes
    foreign = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    (secret := tmp_path / "preshared").write_text("A" * 42 + "E=\n")
    two.run("wg", "set", two.link, "listen-port", "4444", "fwmark", "7")
    two.run("wg", "set", two.link, "peer", foreign, "allowed-ips", f"{one.ipv4}/32")
    two.run("wg", "set", two.link, "peer", three.key, "preshared-key", str(secret))
    two.run("ip", "address", "add", "192.0.2.7/24", "dev", two.link)
    two.run("ip", "address", "delete", f"{two.ipv4}/16", "dev", two.link)
    two.run("ip", "link", "set", two.link, "mtu", "1300")
    two.run("ip", "-6", "route", "delete", NETWORK.ranges[1], "dev", two.link)
    two.run("ip", "link", "set", two.link, "down")

    done = "; ".join(two.keep().done)
    for part in (
        "key and port",
        "removed 1 peers",
        "192.0.2.7/24",
        f"{two.ipv4}/16",
        "MTU to 1420",
        "brought up",
    ):
        assert part in done
    two.tick(nodes)
    two.keep()
    assert two.keep().done == ()
    assert set(two.observe()) == {one.key, three.key}
    for other in (one, three):
        two.wait_reaches(other.ipv4)
        two.wait_reaches(other.ipv6)


def test_where_ipv6_is_switched_off_the_mesh_works_by_ipv4_and_says_so(nodes: list[MeshNode]) -> None:
    one, two, _ = nodes
    setting = Path(f"/proc/sys/net/ipv6/conf/{two.link}/disable_ipv6")
    two.call(setting.write_text, "1")
    try:
        kept = two.keep()
        assert [warning.rpartition(": ")[2] for warning in kept.warnings] == [
            "IPv6 is switched off on this machine"
        ]
        assert two.tick(nodes) == ()
        two.wait_reaches(one.ipv4)
    finally:
        two.call(setting.write_text, "0")
    assert two.keep().done == (f"added the address {two.ipv6}/64",)
    two.wait_reaches(one.ipv6)


def test_the_address_of_a_role_moves_with_its_holder_who_speaks_with_his_own(nodes: list[MeshNode]) -> None:
    one, two, three = nodes
    address = str(role_ipv6(NETWORK.cluster_id, "queue"))
    for holder, other in ((two, three), (three, two)):
        holder.hold(address)
        other.hold()
        for node in nodes:
            node.tick(nodes, roles={holder.node_id: (address,)})
        one.wait_reaches(address)
        assert address in holder.run("ip", "-6", "address", "show", "dev", holder.link).stdout
        assert address not in other.run("ip", "-6", "address", "show", "dev", other.link).stdout
        assert f" src {holder.ipv6} " in holder.run("ip", "-6", "route", "get", one.ipv6).stdout
    three.hold()
    for node in nodes:
        node.tick(nodes)


def test_a_mesh_range_that_the_network_uses_is_refused_and_the_network_stays(nodes: list[MeshNode]) -> None:
    two = nodes[1]
    link = LinkSettings(f"{SUBNET}.77", "10.55.0.0/16", two.ipv6, NETWORK.ranges[1], 1420)
    two.run("ip", "address", "flush", "dev", two.link)
    with pytest.raises(
        ClusterError, match=rf"eth0 has {SUBNET}.2/24, within reach of the mesh's 10.55.0.0/16"
    ):
        two.call(two.mesh.keep, replace(two.settings, link=link))
    assert two.reaches(f"{SUBNET}.1")
    two.keep()


def test_an_interface_that_was_set_up_before_is_taken_over_by_a_new_agent(nodes: list[MeshNode]) -> None:
    one, two, _ = nodes
    handshake = two.observe()[one.key].handshake
    two.call(two.mesh.close)
    two.mesh = two.call(open_mesh, two.link)
    assert two.keep().done == ()
    assert two.tick(nodes) == ()
    assert two.observe()[one.key].handshake == handshake


def test_the_underlay_is_what_leads_to_other_machines(nodes: list[MeshNode]) -> None:
    (nic,) = nodes[0].call(nodes[0].mesh.list_underlay)
    assert (nic.name, nic.mtu, nic.addresses) == ("eth0", 1500, (f"{SUBNET}.1/24",))


def test_a_large_packet_fits_through_the_mesh_in_one_piece(nodes: list[MeshNode]) -> None:
    one, two, _ = nodes
    headers = 20 + 8
    done = one.run("ping", "-n", "-c", "1", "-W", "5", "-M", "do", "-s", str(1420 - headers), two.ipv4)
    assert done.returncode == 0
    assert one.run("ping", "-c", "1", "-M", "do", "-s", str(1421 - headers), two.ipv4, check=False).returncode


def test_who_is_no_peer_gets_no_answer_on_the_mesh_port(nodes: list[MeshNode]) -> None:
    one, two, _ = nodes

    def ask() -> bytes | None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            for garbage in (b"", b"\x01\0\0\0" + bytes(144), bytes(1400)):
                client.sendto(garbage, (f"{SUBNET}.1", PORT))
            try:
                return client.recv(2000)
            except TimeoutError:
                return None

    assert two.call(ask) is None
    wait_for("the mesh to go on", lambda: two.reaches(one.ipv4), REACH_LIMIT)
