# SPDX-License-Identifier: Apache-2.0
"""Where Raft listens, among real processes on loopback addresses, and whom it does not hear."""

import random
import socket
from pathlib import Path

from tests.cluster.raft_cluster import LIMIT, Begin, wait_for


def test_garbage_and_wrong_passwords_change_nothing(begin: Begin, port: int) -> None:
    cluster = begin(3)
    leader = cluster.leader()
    randomly = random.Random(1)
    strangers = []
    for number in range(200):
        stranger = socket.create_connection((leader.host, port), timeout=LIMIT)
        stranger.sendall(
            [
                randomly.randbytes(200),
                b"cosraft1" + randomly.randbytes(5),
                b"cosraft1" + bytes(32) + b"\0\0\0\x50" + bytes(80),
                b"cosraft1" + bytes(32) + b"\x7f\xff\xff\xff",
                b"GET / HTTP/1.1\r\n\r\n",
                b"",
            ][number % 6]
        )
        strangers.append(stranger)
    wait_for("an answer to each stranger", lambda: all(map(hangs_up, strangers)))
    leader.commit("still here")
    other = cluster.spawn(9, password="YW5vdGhlciBwYXNzd29yZCBvZiBhIGNsdXN0ZXIgaW4gdGU=")
    other.start("observer", (1, 2, 3))
    wait_for("a refusal", lambda: "does not hold the Raft password" in other.log.read_text())
    assert other.status()["words"] is None
    assert other.raft()["connected"] == []
    leader.commit("and here")


def hangs_up(stranger: socket.socket) -> bool:
    """Tell whether the other end has closed; what it says before is nothing but its greeting."""
    stranger.setblocking(False)
    try:
        data = stranger.recv(4096)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    assert data[:8] in (b"", b"cosraft1")
    return not data


def test_a_replica_listens_at_its_own_address_only(begin: Begin, port: int) -> None:
    cluster = begin(1)
    replica = cluster.leader()
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    here = {fields[1] for fields in listening if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}
    assert here == {f"0100007F:{port:04X}"}
    assert replica.raft()["voters"] == ["node1"]
    observer = cluster.observe(9)
    wait_for("the observer is ready", lambda: observer.raft()["ready"])
    assert not [
        line
        for line in Path("/proc/net/tcp").read_text().splitlines()
        if f"0900007F:{port:04X} 00000000" in line
    ]


def test_an_address_that_is_taken_and_a_folder_in_use_are_told(begin: Begin, port: int) -> None:
    cluster = begin(1)
    first = cluster.leader()
    assert "another program" in cluster.spawn(1).refuse()
    cluster.replicas[20] = first
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", port))
        taken.listen()
        second = cluster.spawn(2)
        answer = second.ask("start", role="voter", voters=["127.0.0.1"], fresh=True)
        assert f"Raft cannot listen on 127.0.0.2:{port}: address already in use" in answer["error"]
    answer = second.ask("start", role="voter", voters=["127.0.0.2"], fresh=True)
    assert answer["error"] == "no voter is known whom this node could follow"
