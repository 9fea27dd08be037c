# SPDX-License-Identifier: Apache-2.0
"""What the packet filter really lets in: three machines, of which the first one has it."""

import errno
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from agent.mesh.firewall import Firewall, render, render_ranges
from harness import processes
from image.toolstree import ToolsTree
from tests.cluster.mesh_node import NETWORK, PORT, MeshNode
from tests.cluster.switch import SUBNET, Switch

SERF, RAFT, OPENED, OTHER = 7946, 7950, 22, 9000
PATIENCE = 1.0
"""Seconds after which a packet counts as dropped; here it takes less than a millisecond."""


def firewall(node: MeshNode, *open_ports: str) -> Firewall:
    return Firewall(node.link, PORT, SERF, mdns=True, open_ports=open_ports)


def load(node: MeshNode, text: str) -> None:
    node.run("nft", "-f", "-", stdin=text)


@pytest.fixture(scope="module")
def running(tools: ToolsTree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[MeshNode]]:
    folder = tmp_path_factory.mktemp("firewall")
    switch = Switch(folder)
    started: list[MeshNode] = []
    try:
        for number in (1, 2, 3):
            started.append(MeshNode(number, folder, switch, tools))
        for node in started:
            node.tick(started[:2] if node.number < 3 else [])
        yield started
    finally:
        for node in started:
            node.end()
        processes.end_all(folder, grace=2)


@pytest.fixture
def nodes(running: list[MeshNode]) -> list[MeshNode]:
    """The guarded machine, a member, and a machine that is on the same network only."""
    load(running[0], render(firewall(running[0], f"tcp/{OPENED}")) + render_ranges(NETWORK.ranges))
    for node in running[:2]:
        node.tick(running[:2])
    running[0].wait_reaches(running[1].ipv4)
    running[1].wait_reaches(running[0].ipv4)
    return running


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def connects(client: MeshNode, server: MeshNode, address: str, port: int) -> bool:
    """Whether `client` can connect to `port` at `address`, where `server` listens on all addresses."""

    def listen() -> socket.socket:
        return socket.create_server(("", port), family=family(address))

    def connect() -> bool:
        try:
            socket.create_connection((address, port), PATIENCE).close()
        except OSError:
            return False
        return True

    with closing(server.call(listen)):
        return client.call(connect)


def arrives(
    client: MeshNode, server: MeshNode, address: str, port: int, source: tuple[str, int] = ("", 0)
) -> bool:
    """Whether a datagram of `client` from `source` to `port` at `address` arrives at `server`."""

    def listen() -> socket.socket:
        receiver = socket.socket(family(address), socket.SOCK_DGRAM)
        receiver.settimeout(PATIENCE)
        receiver.bind(("", port))
        return receiver

    def send() -> None:
        with socket.socket(family(address), socket.SOCK_DGRAM) as sender:
            sender.bind(source)
            sender.sendto(b"x", (address, port))

    with closing(server.call(listen)) as receiver:
        client.call(send)
        try:
            receiver.recv(1)
        except TimeoutError:
            return False
        return True


def test_on_the_underlay_only_serf_and_what_the_operator_opened_can_be_connected_to(
    nodes: list[MeshNode],
) -> None:
    one, two, three = nodes
    underlay = f"{SUBNET}.1"
    assert connects(three, one, underlay, SERF)
    assert connects(three, one, underlay, OPENED)
    for port in (RAFT, OTHER, 80):
        assert not connects(two, one, underlay, port)


def test_on_the_underlay_only_datagrams_of_the_cluster_and_of_the_network_itself_come_in(
    nodes: list[MeshNode],
) -> None:
    one, _, three = nodes
    underlay = f"{SUBNET}.1"
    assert arrives(three, one, underlay, SERF)
    assert arrives(three, one, underlay, 5353)
    assert arrives(three, one, underlay, 68, source=("", 67))
    for port in (OTHER, OPENED, 53, 68):
        assert not arrives(three, one, underlay, port)
    assert three.reaches(underlay)


def test_ipv6_of_the_link_works_with_neighbour_discovery_and_the_same_limits(nodes: list[MeshNode]) -> None:
    one, _, three = nodes
    found = one.run("ip", "-6", "-oneline", "address", "show", "dev", "eth0", "scope", "link").stdout
    address = found.split()[3].partition("/")[0] + "%eth0"
    assert three.reaches(address)
    assert connects(three, one, address, SERF)
    assert not connects(three, one, address, OTHER)


def test_a_member_reaches_every_port_on_the_mesh(nodes: list[MeshNode]) -> None:
    one, two, _ = nodes
    for address in (one.ipv4, one.ipv6):
        assert connects(two, one, address, RAFT)
        assert connects(two, one, address, OTHER)
        assert arrives(two, one, address, OTHER)


def test_what_the_guarded_machine_asks_for_is_answered(nodes: list[MeshNode]) -> None:
    one, two, _ = nodes
    assert connects(one, two, f"{SUBNET}.2", OTHER)
    assert connects(one, two, two.ipv6, OTHER)
    assert connects(one, one, "127.0.0.1", OTHER)


def test_a_mesh_address_cannot_be_reached_by_the_underlay(nodes: list[MeshNode]) -> None:
    """Linux takes packets for any of its addresses on any interface."""
    one, _, three = nodes
    three.run("ip", "address", "flush", "dev", three.link)
    three.run("ip", "route", "replace", f"{one.ipv4}/32", "via", f"{SUBNET}.1")
    for port in (SERF, OPENED, RAFT):
        assert not connects(three, one, one.ipv4, port)
    assert not arrives(three, one, one.ipv4, SERF)


def test_a_sender_that_pretends_to_be_in_the_mesh_is_not_heard(nodes: list[MeshNode]) -> None:
    one, two, three = nodes
    three.run("ip", "address", "flush", "dev", three.link)
    three.run("ip", "address", "replace", f"{two.ipv4}/32", "dev", "lo")
    try:
        assert not arrives(three, one, f"{SUBNET}.1", SERF, source=(two.ipv4, 0))
    finally:
        three.run("ip", "address", "delete", f"{two.ipv4}/32", "dev", "lo")
    assert arrives(three, one, f"{SUBNET}.1", SERF)


def test_before_the_ranges_are_known_the_mesh_lets_nothing_in(nodes: list[MeshNode]) -> None:
    one, two, _ = nodes
    load(one, render_ranges([]))
    assert not connects(two, one, one.ipv4, RAFT)
    load(one, render_ranges(NETWORK.ranges))
    assert connects(two, one, one.ipv4, RAFT)


def test_nothing_for_the_mesh_leaves_by_the_default_route_when_its_interface_is_down(
    nodes: list[MeshNode],
) -> None:
    one, two, _ = nodes

    def try_to_send(address: str) -> int | None:
        with socket.socket(family(address), socket.SOCK_STREAM) as client:
            client.settimeout(5)
            try:
                client.connect((address, RAFT))
            except OSError as error:
                return error.errno
            return None

    one.run("ip", "link", "set", one.link, "down")
    one.run("ip", "route", "replace", "default", "via", f"{SUBNET}.2")
    try:
        assert one.call(try_to_send, two.ipv4) in (errno.ENETUNREACH, errno.EHOSTUNREACH)
        found = one.run("nft", "list", "chain", "inet", "cluster-os", "output").stdout
        assert "@mesh4 counter packets 0 " not in found
    finally:
        one.keep()
    one.wait_reaches(two.ipv4)


def test_a_reload_opens_nothing_and_breaks_nothing(nodes: list[MeshNode], tmp_path: Path) -> None:
    one, _, three = nodes

    def listen(port: int) -> socket.socket:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        receiver.bind(("", port))
        receiver.setblocking(False)
        return receiver

    def count(receiver: socket.socket) -> int:
        received = 0
        while True:
            try:
                receiver.recv(1)
            except BlockingIOError:
                return received
            received += 1

    def flood() -> int:
        """Send to both ports for as long as the rules are loaded again and again; return how often."""
        sent = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not loading.done():
                for _ in range(20):
                    for port in (SERF, OTHER):
                        sender.sendto(b"x", (f"{SUBNET}.1", port))
                    sent += 1
                count_open.append(count(opened))
        return sent

    (rules := tmp_path / "rules").write_text(render(firewall(one, f"tcp/{OPENED}")))
    script = 'for i in $(seq 50); do nft -f - < "$1"; done'
    count_open: list[int] = []
    with (
        ThreadPoolExecutor(1) as pool,
        closing(one.call(listen, SERF)) as opened,
        closing(one.call(listen, OTHER)) as shut,
    ):
        loading = pool.submit(one.run, "sh", "-ec", script, "sh", str(rules))
        sent = three.call(flood)
        loading.result()
        assert sent > 100
        assert sum(count_open) + count(opened) == sent
        assert count(shut) == 0
