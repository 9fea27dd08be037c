# SPDX-License-Identifier: Apache-2.0
"""Damaged files and full disks: named, kept as they are, and no end of the agent.

The tests share one cluster of one machine, which is damaged and put right again.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import processes
from harness.waiting import wait_for
from tests.cluster.bundle import Operator, encode, make_credential
from tests.cluster.machines import Machine, Machines, wait_formed
from tests.cluster.watching import LIMIT, wait_led, wait_phase, wait_status


@pytest.fixture(scope="module")
def node(heap: Machines) -> Iterator[Machine]:
    """The one machine of this file's cluster."""
    heap.start(1, encode(make_credential(1)))
    wait_formed([heap[1]])
    yield heap[1]


@pytest.mark.parametrize(
    ("name", "damage"),
    [("genesis.msgpack", "flipped"), ("ledger.msgpack", "short"), ("secrets.msgpack", "flipped")],
)
def test_a_damaged_membership_is_refused_by_name_and_left_as_it_is(
    node: Machine, name: str, damage: str
) -> None:
    path, good, bad = _damage(node, name, damage)
    status = wait_status(node, "the damage", lambda status: status["error"] and str(path) in status["error"])
    assert status["phase"] == "waiting"
    assert "it was left as it is" in status["sentence"]
    shown = node.command("status")
    assert shown.returncode == 4
    assert str(path) in shown.stdout
    assert "put right what the last error names" in shown.stdout
    # It does not begin anew, whatever it is told.
    credential = node.folder / "cluster-os.join"
    assert "cannot tell whether it is a member" in node.command("join", str(credential)).stderr
    assert path.read_bytes() == bad
    _put_right(node, path, good)


def test_a_membership_of_which_a_file_is_gone_is_refused_by_name(node: Machine) -> None:
    node.kill("agent")
    path = node.state / "agent/ledger.msgpack"
    good = path.read_bytes()
    path.unlink()
    node.start_agent()
    wait_phase(node, "waiting", f"{path} is missing beside genesis.msgpack")
    assert not path.exists()
    _put_right(node, path, good)


@pytest.mark.parametrize("name", ["raft/journal", "raft/snapshot"])
def test_a_damaged_log_is_refused_by_name_and_left_as_it_is(node: Machine, name: str) -> None:
    path, good, bad = _damage(node, name, "flipped")
    status = wait_status(node, "the damage", lambda status: status["error"] and str(path) in status["error"])
    assert status["phase"] == "member"
    shown = node.command("status")
    assert shown.returncode == 7
    assert str(path) in shown.stdout
    assert path.read_bytes() == bad
    _put_right(node, path, good)


def test_a_damaged_credential_is_refused_by_name_and_a_member_stays_one(node: Machine) -> None:
    path = node.run / "cluster-os.join"
    good = path.read_bytes()
    node.kill("agent")
    path.chmod(0o600)
    path.write_bytes(good[:100])
    node.start_agent()
    status = wait_status(node, "the damage", lambda status: status["error"] and str(path) in status["error"])
    assert status["phase"] == "member"
    path.write_bytes(good)
    wait_status(node, "to be well", lambda status: status["error"] is None)


def test_a_node_with_damaged_promises_forms_nothing_and_joins_what_others_formed(heap: Machines) -> None:
    """Its promises are what keeps the cluster one: to begin without them would be to forget.

    On the way two founders form, of whom one votes.
    """
    operator = Operator(3)
    one = heap[2]
    # The lower node ID of two founders votes. It comes last, so that the other one proposes, and is then the
    # only one who knows what was decided, without a vote.
    third, other = sorted((heap[3], heap[5]), key=lambda machine: machine.node_id)
    heap.start_more([2], encode(operator.issue()))
    wait_phase(one, "forming", "1 of 3 planned machines in sight")
    one.kill("agent")
    path = one.state / "agent/forming.msgpack"
    path.write_bytes(b"what was promised")
    one.start_agent()
    heap.start_more([other.number], encode(operator.issue()))
    status = wait_status(one, "the damage", lambda status: status["error"] and str(path) in status["error"])
    assert status["phase"] == "forming"
    wait_phase(other, "forming", "2 of 3 planned machines in sight")
    heap.start_more([third.number], encode(operator.issue()))
    wait_formed([one, other, third])
    assert path.read_bytes() == b"what was promised"
    wait_status(one, "to be well", lambda status: status["error"] is None)
    assert not next(member for member in one.status()["members"] if member["node_id"] == one.node_id)["voter"]


def test_a_full_disk_stops_no_member_and_is_named_until_there_is_room(heap: Machines) -> None:
    """State on a disk of its own, full at first while the node is to join, and later while it is a member."""
    node = heap[4]
    disk = node.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "cluster-os-test", disk], check=True)
    try:
        (node.state / "agent").symlink_to(disk)
        _fill(disk)
        heap.start_more([4], encode(make_credential(1)))
        wait_status(node, "a full disk", lambda status: "no space left" in (status["error"] or ""))
        assert node.status()["phase"] == "forming"
        (disk / "filler").unlink()
        wait_formed([node])
        _fill(disk)
        (agent,) = processes.find(heap.switch.group, "node4.agent")
        node.command("approve", heap[6].node_id)  # committed or not, the ledger is to be written
        wait_status(node, "a full disk", lambda status: "no space left" in (status["error"] or ""))
        assert node.command("status").returncode == 7
        assert agent.alive
        (disk / "filler").unlink()
        wait_led([node])
        wait_status(node, "to be well", lambda status: status["error"] is None)
        wait_for("a change", lambda: _approves(node, heap[7].node_id), LIMIT)
    finally:
        node.cut_power()
        subprocess.run(["umount", disk], check=True)


def _damage(node: Machine, name: str, how: str) -> tuple[Path, bytes, bytes]:
    """Damage a file while the agent is off, and start it; return the file, what it held and what it holds."""
    node.kill("agent")
    path = node.state / "agent" / name
    good = path.read_bytes()
    middle = (len(good) + (4096 if len(good) > 4096 else 0)) // 2  # not the gap at the head of a journal
    bad = good[:middle] + (bytes([good[middle] ^ 0x40]) + good[middle + 1 :] if how == "flipped" else b"")
    path.write_bytes(bad)
    node.start_agent()
    return path, good, bad


def _put_right(node: Machine, path: Path, good: bytes) -> None:
    """Put a file right while the agent runs: it sees that by itself."""
    path.write_bytes(good)
    wait_phase(node, "member")
    wait_led([node])
    wait_status(node, "to be well", lambda status: status["error"] is None)


def _fill(disk: Path) -> None:
    """Leave no room on a disk."""
    with pytest.raises(OSError, match="No space left"), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"\0" * 4096)


def _approves(node: Machine, other: str) -> bool:
    done = node.command("approve", other)
    return done.returncode == 0 or "approved already" in done.stderr
