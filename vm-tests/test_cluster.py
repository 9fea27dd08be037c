# SPDX-License-Identifier: Apache-2.0
"""Three machines stay one cluster, whatever happens to them; how they are otherwise: hpc/test_members.py."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from nacl.utils import random

from agent.identity import identity_of_seed
from agent.users.user import User
from harness.cluster import read_status, wait_formed
from harness.lab import Lab
from harness.machine import Machine
from harness.model import JOIN_CREDENTIAL, Boot, Json, NodeSpec
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential
from tests.example_users import make_key

pytestmark = pytest.mark.full

ALICE = User("alice", 1001, ("video", "physics:5000"), (make_key(),))
RIGHT, WRONG = b"correct horse\n", b"battery staple\n"
CHANGE_LIMIT = 120.0
"""Seconds for what a running cluster does about a change, on busy cores under TCG."""
LATENCY = 200
"""Milliseconds that all packets of a machine are late: twice as much there and back."""
MEMBERLIST_SECONDS = 10.0
"""In that time Serf takes a machine for dead that does not answer."""


@pytest.fixture(scope="module")
def boot() -> Boot:
    """What each of the machines is started with."""
    return Boot({JOIN_CREDENTIAL: encode(make_credential(3), users=(ALICE,))})


@pytest.fixture(scope="module")
def trio(lab: Lab, boot: Boot) -> Iterator[list[Machine]]:
    """node1 to node3, one cluster."""
    machines = [lab.start(NodeSpec(f"node{number}", cpus=1), boot) for number in (1, 2, 3)]
    for machine in machines:
        machine.wait_ready()
    wait_formed(machines)
    yield machines


def genesis_of(documents: list[Json]) -> str:
    (genesis,) = {document["cluster"]["genesis"] for document in documents}
    return str(genesis)


def test_with_a_latency_of_200_ms_each_way_nobody_is_given_up_and_all_can_write(trio: list[Machine]) -> None:
    # That no lease and no leader change is seen in namespaces: emulated processors lose them without latency.
    wait_formed(trio)
    with ExitStack() as stack:
        for machine in trio:
            delay = ("dev", network_device(machine), "root", "netem")
            machine.run("tc", "qdisc", "add", *delay, "delay", f"{LATENCY}ms")
            stack.callback(machine.run, "tc", "qdisc", "del", *delay)
        there = read_status(trio[1])["mesh"]["ipv4"]
        assert float(trio[0].run("python3", "-c", _connect(there, 7980))) >= 2 * LATENCY / 1000
        before = wait_formed(trio)
        for machine in trio:
            machine.run("node-agent", "approve", identity_of_seed(random(32)).node_id)
        wait_for("a coordinator", lambda: sum(map(acts, trio)) == 1, CHANGE_LIMIT)
        after = wait_formed(trio)
    for earlier, later in zip(before, after, strict=True):
        took = later["published"] - earlier["published"]
        ages = [m["state_age"] for m in later["members"] if m["node_id"] != later["node_id"]]
        assert min(ages) > took > MEMBERLIST_SECONDS, "somebody was taken for dead meanwhile"
        assert later["raft"]["commit_index"] >= earlier["raft"]["commit_index"] + len(trio)
    assert genesis_of(wait_formed(trio)) == genesis_of(before)


def test_users_of_the_bundle_are_the_same_on_every_machine(trio: list[Machine]) -> None:
    for machine in trio:
        wait_for("alice", lambda: knows(machine, "alice"), CHANGE_LIMIT)  # noqa: B023
        assert machine.run("getent", "passwd", "alice") == "alice:x:1001:1001:alice:/home/alice:/bin/bash"
        assert set(machine.run("id", "-Gn", "alice").split()) == {"alice", "video", "physics"}
        assert machine.run("getent", "group", "5000") == "physics:x:5000:alice"
        assert "User name: alice" in machine.run("userdbctl", "user", "1001")
        assert machine.run("userdbctl", "ssh-authorized-keys", "alice") == ALICE.ssh_keys[0]
        home = ["stat", "--format=%a %U %G", "/home/alice/."]
        wait_for("a home", lambda: machine.execute(home).text == "700 alice alice", CHANGE_LIMIT)  # noqa: B023
        assert not logs_in(machine, "alice", RIGHT), "it has no password"


def test_who_is_added_logs_in_everywhere_with_the_right_password_and_is_gone_when_removed(
    trio: list[Machine],
) -> None:
    hash_ = trio[0].execute(["openssl", "passwd", "-6", "-stdin"], stdin=RIGHT).stdout
    add = ["node-agent", "users", "add", "bob", "--uid", "1002", "--password-hash", "-"]
    assert trio[0].execute(add, stdin=hash_).text == "users: set bob"
    secret = hash_.decode().strip()
    for machine in trio:
        wait_for("bob", lambda: knows(machine, "bob"), CHANGE_LIMIT)  # noqa: B023
        assert logs_in(machine, "bob", RIGHT)
        assert not logs_in(machine, "bob", WRONG)
        assert "yes" in machine.run("node-agent", "users", "list").splitlines()[2]
        # Nobody but root reads a hash: neither by name nor in a file, and no log or archive has it.
        as_alice = ["setpriv", "--reuid=alice", "--regid=alice", "--init-groups"]
        assert machine.execute([*as_alice, "cat", "/run/userdb/bob.user-privileged"]).status != 0
        assert secret in machine.run("getent", "shadow", "bob")
        assert secret not in machine.execute([*as_alice, "getent", "shadow", "bob"]).text
        assert secret not in machine.execute([*as_alice, "userdbctl", "user", "bob", "--output=json"]).text
        assert secret not in machine.run("journalctl", "-b", "--no-pager")
    trio[0].run("node-agent", "support", "--output=/run/support.tar.gz", limit=180)
    assert secret not in trio[0].run("sh", "-c", "tar -xzOf /run/support.tar.gz; rm /run/support.tar.gz")
    trio[1].run("node-agent", "users", "change", "alice", "--shell", "/bin/sh", limit=60)
    trio[2].run("node-agent", "users", "remove", "bob", "--yes", limit=60)
    for machine in trio:
        wait_for("bob to be gone", lambda: not knows(machine, "bob"), CHANGE_LIMIT)  # noqa: B023
        assert machine.run("getent", "passwd", "alice").endswith(":/bin/sh")
        assert machine.run("stat", "--format=%a %u", "/home/bob/.") == "700 1002", "files stay"
        assert machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""


def test_the_cluster_goes_on_without_its_leader_and_takes_it_back(
    lab: Lab, trio: list[Machine], boot: Boot
) -> None:
    documents = wait_formed(trio)
    leader = documents[0]["raft"]["leader"]
    (lost,) = [machine for machine, d in zip(trio, documents, strict=True) if d["node_id"] == leader]
    others = [machine for machine in trio if machine is not lost]
    lost.power_cut()

    def led() -> bool:
        found = [read_status(machine) for machine in others]
        return all(d.get("raft", {}).get("leader") not in (None, leader) for d in found)

    wait_for("another leader", led, CHANGE_LIMIT)
    lab.start(lost.spec, boot)
    lost.wait_ready()
    assert genesis_of(wait_formed(trio)) == genesis_of(documents)


def test_an_isolated_holder_stops_before_the_other_side_starts(trio: list[Machine]) -> None:
    documents = wait_formed(trio)
    wait_for("a coordinator", lambda: any(map(acts, trio)), CHANGE_LIMIT)
    (holder,) = filter(acts, trio)
    others = [machine for machine in trio if machine is not holder]
    holder.set_link(False)
    try:
        wait_for("another coordinator", lambda: any(map(acts, others)), CHANGE_LIMIT)
        # Seen after the other one was seen to act.
        assert not acts(holder)
    finally:
        holder.set_link(True)
    assert genesis_of(wait_formed(trio)) == genesis_of(documents)
    assert sum(map(acts, trio)) == 1


def test_a_cluster_that_lost_its_power_comes_back_as_it_was(
    lab: Lab, trio: list[Machine], boot: Boot
) -> None:
    before = wait_formed(trio)
    for machine in trio:
        machine.power_cut()
    for machine in reversed(trio):
        lab.start(machine.spec, boot)
    for machine in trio:
        machine.wait_ready()
    after = wait_formed(trio)
    assert genesis_of(after) == genesis_of(before)
    assert [d["mesh"]["ipv4"] for d in after] == [d["mesh"]["ipv4"] for d in before]
    for machine in trio:
        wait_for("alice", lambda: knows(machine, "alice"), CHANGE_LIMIT)  # noqa: B023
        assert machine.run("stat", "--format=%a %U", "/home/alice/.") == "700 alice"


def test_a_removed_machine_stays_out_also_after_a_reboot(trio: list[Machine]) -> None:
    documents = wait_formed(trio)
    gone, others = trio[2], trio[:2]
    node = documents[2]["node_id"]
    others[0].run("node-agent", "remove", "--yes", node, limit=60)

    def dropped() -> bool:
        found = [read_status(machine) for machine in others]
        return all(node in d.get("removed", []) and d["secrets"]["gossip"] == 2 for d in found)

    wait_for("the removal to be known", dropped, CHANGE_LIMIT)
    gone.reboot()
    wait_formed(others)
    assert all(node not in {m["node_id"] for m in read_status(machine)["members"]} for machine in others)


def knows(machine: Machine, user: str) -> bool:
    """Whether the machine has such a user."""
    return machine.execute(["getent", "passwd", user]).status == 0


def logs_in(machine: Machine, user: str, password: bytes) -> bool:
    """Whether PAM lets somebody else be `user` by this password; root is not asked for one."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = machine.execute([*nobody, "su", user, "-c", "id -un"], stdin=password)
    return done.status == 0 and done.stdout.decode().strip() == user


def acts(machine: Machine) -> bool:
    """Whether it says that it runs the role."""
    return "coordinator here" in read_status(machine).get("sentence", "")


def network_device(machine: Machine) -> str:
    """The name of its network interface."""
    routes = json.loads(machine.run("ip", "-json", "-4", "address", "show", "to", machine.spec.address))
    return str(routes[0]["ifname"])


def _connect(host: str, port: int) -> str:
    return (
        f"import socket, time; s = time.monotonic(); socket.create_connection(('{host}', {port}), 10); "
        "print(time.monotonic() - s)"
    )
