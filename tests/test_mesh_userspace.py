# SPDX-License-Identifier: Apache-2.0
"""The text that a WireGuard program is told and gives: https://www.wireguard.com/xplatform/."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from agent.cluster import MeshPeer
from agent.errors import ClusterError
from agent.mesh.plan import RemovePeer, SetPeer
from agent.mesh.userspace import UserspaceDevice, encode_change, parse_device

HEX = bytes(range(32)).hex()
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes([7]) * 32).decode()
PRIVATE = bytes([8]) * 32
ANSWER = f"""private_key={PRIVATE.hex()}
listen_port=51820
fwmark=9
public_key={HEX}
preshared_key={"0" * 64}
protocol_version=1
endpoint=192.0.2.1:51820
last_handshake_time_sec=1700000000
last_handshake_time_nsec=5
tx_bytes=7
rx_bytes=8
persistent_keepalive_interval=25
allowed_ip=fd00:1::5/128
allowed_ip=10.77.3.4/32
public_key={"07" * 32}
preshared_key={"0" * 63}1
protocol_version=1
endpoint=[2001:db8::3]:9
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
persistent_keepalive_interval=0
errno=0

"""


def test_an_answer_is_read_with_all_that_is_known_of_each_peer() -> None:
    found = parse_device(ANSWER)
    public_key = base64.b64encode(bindings.crypto_scalarmult_base(PRIVATE)).decode()
    assert (found.public_key, found.listen_port, found.mark) == (public_key, 51820, 9)
    assert found.peers == {
        KEY: MeshPeer(KEY, ("10.77.3.4/32", "fd00:1::5/128"), ("192.0.2.1", 51820), 25, 1_700_000_000, 8, 7),
        OTHER: MeshPeer(OTHER, (), ("2001:db8::3", 9), 0),
    }
    assert found.preshared == {OTHER}


def test_the_private_key_does_not_come_out_of_an_answer() -> None:
    shown = repr(parse_device(ANSWER))
    assert PRIVATE.hex() not in shown
    assert base64.b64encode(PRIVATE).decode() not in shown
    assert repr(PRIVATE)[2:-1] not in shown


def test_a_device_that_was_just_made_has_neither_key_nor_peers() -> None:
    for answer in ("errno=0\n\n", f"private_key={'0' * 64}\nlisten_port=4\nerrno=0\n\n"):
        found = parse_device(answer)
        assert (found.public_key, dict(found.peers)) == (None, {})


@given(st.integers(0, len(ANSWER) - 1))
def test_a_truncated_answer_is_refused(length: int) -> None:
    with pytest.raises(ClusterError, match="no answer that can be understood"):
        parse_device(ANSWER[:length])


@given(st.text("private_key=public\n0a:./[]", max_size=200))
def test_garbage_is_refused_or_read_but_never_crashes(text: str) -> None:
    try:
        parse_device(text + "\nerrno=0\n\n")
    except ClusterError as error:
        assert "no answer that can be understood" in error.message


def test_a_peer_is_told_with_all_its_values() -> None:
    peer = MeshPeer(KEY, ("10.77.3.4/32", "fd00:1::5/128"), ("2001:db8::3", 9), 25)
    assert encode_change(SetPeer(peer)) == (
        f"public_key={HEX}\nendpoint=[2001:db8::3]:9\npersistent_keepalive_interval=25\n"
        "replace_allowed_ips=true\nallowed_ip=10.77.3.4/32\nallowed_ip=fd00:1::5/128\n"
    )


def test_an_endpoint_that_stays_is_not_told() -> None:
    assert "endpoint" not in encode_change(SetPeer(MeshPeer(KEY, (), None, 0)))


def test_a_removal_is_told() -> None:
    assert encode_change(RemovePeer(KEY)) == f"public_key={HEX}\nremove=true\n"


@contextmanager
def program(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Play a program that gives `answer` to one question; yields what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                question = b""
                while not question.endswith(b"\n\n"):
                    question += connection.recv(4096)
                asked.append(question)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join(10)


def test_the_private_key_and_the_port_are_told_in_one_operation(tmp_path: Path) -> None:
    with program(tmp_path / "mesh0.sock", b"errno=0\n\n") as asked:
        UserspaceDevice("mesh0", tmp_path).configure(PRIVATE, 51820)
    assert asked == [f"set=1\nprivate_key={PRIVATE.hex()}\nlisten_port=51820\nfwmark=0\n\n".encode()]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"errno=98\n\n", "address already in use"),
        (b"errno=-98\n\n", "address already in use"),
        (b"errno=x\n\n", "no answer that can be understood"),
        (b"", "no answer that can be understood"),
        (b"\xff\xfe\n\n", "no answer that can be understood"),
    ],
)
def test_an_order_that_fails_says_why_and_not_what_was_ordered(
    answer: bytes, reason: str, tmp_path: Path
) -> None:
    with program(tmp_path / "mesh0.sock", answer), pytest.raises(ClusterError) as caught:
        UserspaceDevice("mesh0", tmp_path).configure(PRIVATE, 51820)
    assert reason in str(caught.value)
    assert PRIVATE.hex() not in str(caught.value)


def test_without_a_program_it_is_said_and_how_to_start_one(tmp_path: Path) -> None:
    device = UserspaceDevice("mesh0", tmp_path)
    assert not device.answers
    with pytest.raises(ClusterError) as caught:
        device.read()
    assert str(caught.value) == (
        "the WireGuard program of mesh0 gives no answer: no such file or directory"
        " (start it: wireguard-go mesh0)"
    )
