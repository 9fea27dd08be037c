# SPDX-License-Identifier: Apache-2.0
"""mDNS between machines in network namespaces: who has the credential finds the others."""

import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from agent.discovery.mdns import MAX_REMEMBERED, SERVICE, Mdns, mark_cluster
from harness import processes
from harness.waiting import wait_for
from tests.cluster.inside import Inside
from tests.cluster.switch import SUBNET, Switch

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
PORT = 7946
FIND_LIMIT = 15.0
"""Seconds in which one machine finds another; it takes about one."""
GROUP = "224.0.0.251"


class Neighbour:
    """A machine that announces itself, and what it found."""

    def __init__(self, number: int, switch: Switch, key: bytes) -> None:
        self.address = f"{SUBNET}.{number}"
        self.found: set[tuple[str, int]] = set()
        self.inside = Inside(number, switch)
        self.mdns = Mdns(key, PORT, lambda address, port: self.found.add((address, port)))
        self._number, self._switch = number, switch

    def start(self) -> None:
        self.inside.call(self.mdns.start)

    def ip(self, *arguments: str) -> None:
        argv = self._switch.command(self._number, ["ip", *arguments])
        subprocess.run(argv, check=True, capture_output=True, timeout=10)

    def end(self) -> None:
        self.mdns.close()
        self.inside.end()

    def expect(self, *addresses: str) -> None:
        wanted = {(address, PORT) for address in addresses}
        wait_for(f"{self.address} to find {addresses}", lambda: wanted <= self.found, FIND_LIMIT)


@pytest.fixture
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Neighbour]]:
    """Two of one cluster, and one of another; not started."""
    folder = tmp_path_factory.mktemp("mdns")
    switch = Switch(folder)
    made: list[Neighbour] = []
    try:
        for number, key in enumerate((KEY, KEY, OTHER_KEY), 1):
            made.append(Neighbour(number, switch, key))
        yield made
    finally:
        for neighbour in made:
            neighbour.end()
        processes.end_all(folder, grace=2)


def overhear() -> socket.socket:
    """Return a socket that gets all mDNS of the LAN."""
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    ear.bind((GROUP, 5353))
    ear.setsockopt(
        socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4sl", socket.inet_aton(GROUP), 0)
    )
    ear.settimeout(0.1)
    return ear


def flood() -> None:
    """Announce thousands of machines of our service that do not exist."""
    service = b"".join(bytes([len(label)]) + label for label in SERVICE.encode().split(b"."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        for first in range(0, 2 * MAX_REMEMBERED, 40):
            packet = struct.pack(">HHHHHH", 0, 0x8400, 0, 40, 0, 0)
            for number in range(first, first + 40):
                target = struct.pack(">B", 8) + f"{number:08}".encode() + b"\xc0\x0c"
                name = service if number == first else b"\xc0\x0c"
                packet += name + struct.pack(">HHIH", 12, 1, 4500, len(target)) + target
            mouth.sendto(packet, (GROUP, 5353))


def test_machines_with_one_key_find_each_other_and_show_nothing_to_others(
    neighbours: list[Neighbour],
) -> None:
    first, second, stranger = neighbours
    ear = stranger.inside.call(overhear)
    heard = b""

    def announced() -> bool:
        nonlocal heard
        try:
            heard += ear.recv(9000)
        except TimeoutError:
            return False
        return mark_cluster(KEY).encode() in heard

    with ear:
        first.start()
        wait_for("an announcement", announced, FIND_LIMIT)
    assert socket.gethostname().encode() not in heard
    assert KEY not in heard
    assert KEY.hex().encode() not in heard
    stranger.start()
    second.start()
    first.expect(second.address)
    second.expect(first.address)
    assert first.found == {(second.address, PORT)}
    assert stranger.found == set()


def test_a_machine_without_a_network_waits_and_is_found_when_it_has_one(neighbours: list[Neighbour]) -> None:
    first, second, _ = neighbours
    second.ip("address", "flush", "dev", "eth0")
    second.start()
    wait_for("the reason", lambda: second.mdns.error == "this machine has no address", FIND_LIMIT)
    first.start()
    second.ip("address", "add", "10.55.0.77/24", "dev", "eth0")
    first.expect("10.55.0.77")
    second.expect(first.address)
    assert second.mdns.error == ""


def test_an_interface_that_goes_and_comes_back_with_another_address_is_found_again(
    neighbours: list[Neighbour],
) -> None:
    first, second, _ = neighbours
    first.start()
    second.start()
    first.expect(second.address)
    second.ip("link", "set", "eth0", "down")
    second.ip("address", "flush", "dev", "eth0")
    second.found.clear()
    second.ip("address", "add", "10.55.0.78/24", "dev", "eth0")
    second.ip("link", "set", "eth0", "up")
    first.expect("10.55.0.78")
    second.expect(first.address)


def test_machines_with_ipv6_only_find_each_other(neighbours: list[Neighbour]) -> None:
    first, second, _ = neighbours
    for number, neighbour in enumerate((first, second), 1):
        neighbour.ip("-4", "address", "flush", "dev", "eth0")
        neighbour.ip("address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
        neighbour.start()
    first.expect("2001:db8::2")
    second.expect("2001:db8::1")
    # Serf cannot use addresses of the link.
    assert not any(address.startswith("fe80") for address, _ in first.found | second.found)


def test_a_flood_of_announcements_is_forgotten_and_keeps_nobody_apart(neighbours: list[Neighbour]) -> None:
    first, second, stranger = neighbours
    first.start()
    stranger.start()
    wait_for("it to listen", lambda: first.mdns.remembered, FIND_LIMIT)
    stranger.inside.call(flood)
    wait_for("the flood to rise", lambda: first.mdns.remembered > MAX_REMEMBERED, FIND_LIMIT)
    wait_for("the flood to sink", lambda: first.mdns.remembered < 100, FIND_LIMIT)
    second.start()
    first.expect(second.address)
    second.expect(first.address)


def test_an_end_without_a_start_and_a_second_end_do_no_harm(neighbours: list[Neighbour]) -> None:
    neighbours[0].mdns.close()
    neighbours[1].start()
    neighbours[1].mdns.close()
    neighbours[1].mdns.close()
