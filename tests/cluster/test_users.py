# SPDX-License-Identifier: Apache-2.0
"""The users of a cluster: those of the bundle from the first moment, changed on any node, the same on all.

Beside each agent runs the real supervisor of roles, which writes userdb's records into the machine's folder.
"""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from agent import files
from agent.control.listener import Listener
from agent.facts import read_facts
from agent.roles.serving import serve
from agent.roles.supervisor import Supervisor
from agent.tree import Tree
from agent.users.userdb_folder import UserdbFolder
from harness.waiting import wait_for
from tests.cluster.bundle import Operator, encode
from tests.cluster.machines import Machine, Machines, wait_formed
from tests.cluster.observed import ledger
from tests.cluster.watching import LIMIT, wait_voters
from tests.example_users import ALICE, BOB, HASH, MAPS, OTHER_HASH

OPERATOR = Operator(3)
CREDENTIAL = encode(replace(OPERATOR.issue(), users=(ALICE, BOB)))
JOINER = 4


class Records:
    """The supervisor of one machine, and what it writes."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        folder = machine.folder / "run-roles"
        self.userdb = machine.folder / "userdb"
        for path in (folder, machine.folder / "etc"):
            files.make_folder(path, mode=0o755)
        (machine.folder / "etc/group").write_text("video:x:44:\n")
        writer = UserdbFolder(folder / "homes.conf", self.userdb, machine.folder / "etc")
        self._supervisor = Supervisor({}, read_facts(Tree()), folder, writer)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(folder / "supervisor.sock"))
        listening.listen(8)
        self._listener = Listener(listening, lambda each: serve(each, self._supervisor, {0}), name="orders")
        self._thread = threading.Thread(target=self._supervisor.run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._supervisor.stop()
        self._thread.join()
        self._listener.close()

    def users(self) -> dict[str, Any]:
        """The records by name, each with its privileged part."""
        found = {}
        for path in self.userdb.glob("[a-z]*.user"):
            record = json.loads(path.read_bytes())
            secret = json.loads(path.with_suffix(".user-privileged").read_bytes())
            found[record["userName"]] = record | secret
        return found

    def wait(self, *names: str) -> None:
        """Wait until the machine has just these users."""
        name = self._machine.name
        wait_for(f"{name} to have {names}", lambda: set(self.users()) == set(names), LIMIT)


@pytest.fixture(scope="module")
def records(heap: Machines) -> Iterator[dict[int, Records]]:
    """A supervisor for each machine; those of 1 to 3 are a cluster that was founded with alice and bob."""
    found = {number: Records(heap[number]) for number in (1, 2, 3, JOINER)}
    try:
        founders = heap.start(3, CREDENTIAL)
        wait_formed(founders)
        wait_voters(founders)
        yield found
    finally:
        for each in found.values():
            each.end()


def hash_of(records: Records, name: str) -> object:
    return records.users().get(name, {}).get("privileged", {}).get("hashedPassword")


def listed(machine: Machine) -> dict[str, Any]:
    done = machine.command("users", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {user["name"]: user for user in json.loads(done.stdout)["users"]}


def test_a_new_cluster_has_the_users_of_its_bundle_on_every_node(
    heap: Machines, records: dict[int, Records]
) -> None:
    for number in (1, 2, 3):
        records[number].wait("alice", "bob")
        assert hash_of(records[number], "alice") == [HASH]
        assert (records[number].userdb / "alice:physics.membership").exists()
        assert listed(heap[number])["alice"]["has_password"] is True
    assert ledger(heap[1]).users_revision > 0


def test_a_user_that_is_added_on_one_node_is_soon_on_all(heap: Machines, records: dict[int, Records]) -> None:
    (heap[2].folder / "hash").write_text(OTHER_HASH + "\n")
    options = ("--groups", "physics:5000", "--password-hash", str(heap[2].folder / "hash"))
    done = heap[2].command("users", "add", "carol", "--uid", "1003", *options)
    assert (done.returncode, done.stdout) == (0, "users: set carol\n"), done.stderr
    for number in (1, 2, 3):
        records[number].wait("alice", "bob", "carol")
        assert hash_of(records[number], "carol") == [OTHER_HASH]


def test_a_change_and_a_removal_reach_all_nodes(heap: Machines, records: dict[int, Records]) -> None:
    assert heap[3].command("users", "change", "carol", "--shell", "/bin/sh").returncode == 0
    # A change that rests on an older state is refused: node 1 may hear of this one a moment later.
    wait_for("node 1 to know", lambda: listed(heap[1])["carol"]["shell"] == "/bin/sh", LIMIT)
    assert heap[1].command("users", "remove", "bob", "--yes").stdout == "users: removed bob\n"
    for number in (1, 2, 3):
        records[number].wait("alice", "carol")
        wait_for("the shell", lambda: records[number].users()["carol"]["shell"] == "/bin/sh", LIMIT)  # noqa: B023
        assert hash_of(records[number], "carol") == [OTHER_HASH], "what is not given stays"


def test_what_is_not_allowed_is_refused_in_words(heap: Machines, records: dict[int, Records]) -> None:
    before = ledger(heap[1]).users
    for arguments, reason in (
        (("add", "root", "--uid", "1010"), "name: must be"),
        (("add", "eve", "--uid", "0"), "uid: must be"),
        (("add", "eve", "--uid", "1001"), "have the number 1001"),
        (("add", "eve", "--uid", "1010", "--groups", "sudo"), "groups: must be"),
        (("add", "alice", "--uid", "1010"), "there is a user alice already"),
        (("change", "eve", "--shell", "/bin/sh"), "there is no user 'eve'"),
        (("remove", "eve", "--yes"), "there is no user 'eve'"),
    ):
        done = heap[1].command("users", *arguments)
        assert done.returncode == 1
        assert reason in done.stderr, (arguments, done.stderr)
    assert ledger(heap[1]).users == before


def test_one_who_joins_has_the_users_and_one_who_is_removed_has_none(
    heap: Machines, records: dict[int, Records]
) -> None:
    # Its credential has other users: only founders bring some.
    heap.start_more([JOINER], encode(OPERATOR.issue(), users=(BOB,)))
    records[JOINER].wait("alice", "carol")
    assert heap[1].command("remove", "--yes", heap[JOINER].node_id).returncode == 0
    records[JOINER].wait()


def test_a_node_that_starts_alone_has_the_users_it_knew(heap: Machines, records: dict[int, Records]) -> None:
    for number in (1, 2, 3):
        heap[number].cut_power()
    for path in records[2].userdb.iterdir():
        path.unlink()
    records[2].end()
    (heap[2].folder / "run-roles/supervisor.sock").unlink()
    records[2] = Records(heap[2])
    heap[2].start()
    records[2].wait("alice", "carol")
    assert heap[2].status()["raft"]["leader"] is None
    done = heap[2].command("users", "remove", "alice", "--yes")
    assert "there is no leader to commit it" in done.stderr
    heap[1].start()
    heap[3].start()
    wait_formed([heap[1], heap[2], heap[3]])


def test_set_makes_the_users_just_those_of_the_file(heap: Machines, records: dict[int, Records]) -> None:
    path = heap[1].folder / "users.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "users": [MAPS["bob"], MAPS["alice"]]}))
    done = heap[1].command("users", "set", str(path), "--yes")
    assert done.stdout == "users: set bob, removed carol\n", done.stderr
    for number in (1, 2, 3):
        records[number].wait("alice", "bob")
    assert heap[1].command("users", "set", str(path), "--yes").stdout == "users: nothing changes\n"


def test_no_hash_is_in_logs_files_for_everybody_or_what_is_given_away(
    heap: Machines, records: dict[int, Records]
) -> None:
    path = heap[1].folder / "support.tar.gz"
    assert heap[1].command("support", "--output", str(path)).returncode == 0
    told = heap[1].inside("tar", "-xzOf", str(path)).stdout
    assert '"alice": 1001' in told
    shown = heap[1].command("users", "list").stdout + json.dumps(listed(heap[1]))
    for number in (1, 2, 3):
        shown += heap[number].log() + heap[number].log("serf")
    # The credential that the operator handed over is for the agent alone.
    handed = ("cluster-os.join", "users.yaml", "hash")
    kept = [path for path in heap.folder.rglob("*") if path.is_file() and path.name not in handed]
    for secret in (HASH, OTHER_HASH):
        assert secret not in told + shown
        for file in kept:
            if secret.encode() in file.read_bytes():
                assert file.name.endswith(".user-privileged")
                assert file.stat().st_mode & 0o777 == 0o600
