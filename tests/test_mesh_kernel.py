# SPDX-License-Identifier: Apache-2.0
"""What the kernel is told and what is read in its answers, byte by byte as in uapi/linux/wireguard.h.

No kernel takes part: pyroute2 encodes and decodes, and the bytes are compared with the kernel's header, so
that its habits (see agent/mesh/kernel.py) are held by a test. The VM tests run the rest on a real kernel.
"""

import base64
import socket
import struct
from collections.abc import Iterator

import pytest
from pyroute2 import WireGuard
from pyroute2.netlink.generic.wireguard import wgmsg

from agent.cluster import MeshPeer
from agent.mesh.kernel import parse_device, peer_request
from agent.mesh.plan import Change, RemovePeer, SetPeer

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(32, 64))).decode()
ALLOWED = ("10.77.3.4/32", "fd00:1::5/128")

# enum wgdevice_attribute, wgpeer_attribute, wgallowedip_attribute and the peers' flags.
IFNAME, PUBLIC_KEY, LISTEN_PORT, FWMARK, PEERS = 2, 4, 6, 7, 8
PEER_KEY, PRESHARED, FLAGS, ENDPOINT, KEEPALIVE, HANDSHAKE, RX, TX, ALLOWEDIPS = 1, 2, 3, 4, 5, 6, 7, 8, 9
FAMILY, ADDRESS, PREFIX = 1, 2, 3
REMOVE_ME, REPLACE_ALLOWEDIPS = 1, 2
GENL_HEADER = 4
NETLINK_HEADER = 16


class Recorder(WireGuard):  # type: ignore[misc]  # pyroute2 has no types
    """pyroute2 without a socket: keeps what it would send, and takes every order as done."""

    _prid = 30
    pid = 1

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendto(self, data: bytes, _address: tuple[int, int]) -> None:
        self.sent.append(bytes(data))

    def get(self) -> list[dict[str, dict[str, None]]]:
        return [{"header": {"error": None}}]


def told(change: Change) -> dict[int, bytes]:
    """Return the attributes of the one peer in what the kernel would be sent for `change`."""
    wireguard = Recorder()
    wireguard.set("mesh0", peer=peer_request(change))
    (message,) = wireguard.sent
    assert message[NETLINK_HEADER] == 1, "the command is WG_CMD_SET_DEVICE"
    attributes = dict(walk(message[NETLINK_HEADER + GENL_HEADER :]))
    assert attributes[IFNAME].rstrip(b"\0") == b"mesh0"
    ((_, peer),) = walk(attributes[PEERS])
    return dict(walk(peer))


def walk(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each netlink attribute."""
    while data:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def answer(*attributes: bytes) -> wgmsg:
    """Return what pyroute2 makes of a message of the kernel with these attributes."""
    body = struct.pack("=BBH", 0, 1, 0) + b"".join(attributes)
    message = wgmsg(struct.pack("=IHHII", NETLINK_HEADER + len(body), 30, 2, 1, 1) + body)
    message.decode()
    return message


def peer_block(key: str, *attributes: bytes) -> bytes:
    return attribute(0x8000, attribute(PEER_KEY, base64.b64decode(key)) + b"".join(attributes))


def allowed_ips(*networks: str) -> bytes:
    entries = b""
    for network in networks:
        address, _, prefix = network.partition("/")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        entries += attribute(
            0x8000,
            attribute(FAMILY, struct.pack("=H", family))
            + attribute(ADDRESS, socket.inet_pton(family, address))
            + attribute(PREFIX, bytes([int(prefix)])),
        )
    return attribute(0x8000 | ALLOWEDIPS, entries)


def endpoint4(address: str, port: int) -> bytes:
    packed = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port)
    return attribute(ENDPOINT, packed + socket.inet_pton(socket.AF_INET, address) + bytes(8))


def test_a_peer_replaces_its_allowed_ips_and_says_all_of_them() -> None:
    sent = told(SetPeer(MeshPeer(KEY, ALLOWED, ("192.0.2.1", 51820), 25)))
    assert sent[PEER_KEY] == bytes(range(32))
    assert struct.unpack("=I", sent[FLAGS]) == (REPLACE_ALLOWEDIPS,)
    assert struct.unpack("=H", sent[KEEPALIVE]) == (25,)
    entries = [dict(walk(entry)) for _, entry in walk(sent[ALLOWEDIPS])]
    assert [(struct.unpack("=H", e[FAMILY])[0], e[ADDRESS], e[PREFIX][0]) for e in entries] == [
        (socket.AF_INET, socket.inet_aton("10.77.3.4"), 32),
        (socket.AF_INET6, socket.inet_pton(socket.AF_INET6, "fd00:1::5"), 128),
    ]


@pytest.mark.parametrize(
    ("endpoint", "content"),
    [
        (("192.0.2.1", 51820), "0200 ca6c c0000201 0000000000000000"),
        (("2001:db8::3", 7), "0a00 0007 00000000 20010db8000000000000000000000003 00000000"),
    ],
)
def test_an_endpoint_is_a_socket_address(endpoint: tuple[str, int], content: str) -> None:
    sent = told(SetPeer(MeshPeer(KEY, ALLOWED, endpoint, 25)))
    assert sent[ENDPOINT] == bytes.fromhex(content)


def test_an_endpoint_that_stays_is_not_sent() -> None:
    assert ENDPOINT not in told(SetPeer(MeshPeer(KEY, ALLOWED, None, 0)))


def test_keepalive_is_switched_off_by_zero() -> None:
    assert told(SetPeer(MeshPeer(KEY, ALLOWED, None, 0)))[KEEPALIVE] == b"\0\0"


def test_a_removal_names_the_peer_and_nothing_else() -> None:
    sent = told(RemovePeer(KEY))
    assert sent.keys() == {PEER_KEY, FLAGS}
    assert struct.unpack("=I", sent[FLAGS]) == (REMOVE_ME,)


def test_a_version_that_would_append_allowed_ips_is_told_to_replace_them() -> None:
    assert peer_request(SetPeer(MeshPeer(KEY, ALLOWED, None, 25)))["replace_allowed_ips"] is True


def test_an_answer_is_read_with_all_that_is_known_of_a_peer() -> None:
    block = peer_block(
        KEY,
        attribute(PRESHARED, bytes(32)),
        endpoint4("192.0.2.1", 51820),
        attribute(KEEPALIVE, struct.pack("=H", 25)),
        attribute(HANDSHAKE, struct.pack("=QQ", 1_700_000_000, 5)),
        attribute(RX, struct.pack("=Q", 1 << 40)),
        attribute(TX, struct.pack("=Q", 7)),
        allowed_ips(*reversed(ALLOWED)),
    )
    found = parse_device(
        [
            answer(
                attribute(PUBLIC_KEY, base64.b64decode(OTHER)),
                attribute(LISTEN_PORT, struct.pack("=H", 51820)),
                attribute(FWMARK, struct.pack("=I", 9)),
                attribute(0x8000 | PEERS, block),
            )
        ]
    )
    assert (found.public_key, found.listen_port, found.mark) == (OTHER, 51820, 9)
    assert found.preshared == frozenset()
    assert found.peers == {
        KEY: MeshPeer(KEY, ALLOWED, ("192.0.2.1", 51820), 25, 1_700_000_000, 1 << 40, 7),
    }


def test_a_peer_that_was_never_reached_has_neither_endpoint_nor_handshake() -> None:
    block = peer_block(KEY, attribute(HANDSHAKE, bytes(16)), attribute(KEEPALIVE, bytes(2)))
    found = parse_device([answer(attribute(0x8000 | PEERS, block))])
    assert found.peers[KEY] == MeshPeer(KEY, (), None, 0)
    assert found.public_key is None


def test_a_peer_whose_allowed_ips_came_in_two_messages_has_both() -> None:
    first = answer(
        attribute(PUBLIC_KEY, base64.b64decode(OTHER)),
        attribute(LISTEN_PORT, struct.pack("=H", 51820)),
        attribute(0x8000 | PEERS, peer_block(KEY, endpoint4("192.0.2.1", 9), allowed_ips(ALLOWED[0]))),
    )
    second = answer(
        attribute(0x8000 | PEERS, peer_block(KEY, allowed_ips(ALLOWED[1])) + peer_block(OTHER, allowed_ips()))
    )
    found = parse_device([first, second])
    assert found.peers[KEY].allowed_ips == ALLOWED
    assert found.peers[KEY].endpoint == ("192.0.2.1", 9)
    assert (set(found.peers), found.listen_port, found.public_key) == ({KEY, OTHER}, 51820, OTHER)


def test_a_peer_with_a_preshared_key_is_noticed() -> None:
    block = peer_block(KEY, attribute(PRESHARED, bytes(31) + b"\1"))
    assert parse_device([answer(attribute(0x8000 | PEERS, block))]).preshared == frozenset({KEY})
