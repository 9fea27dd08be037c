# SPDX-License-Identifier: Apache-2.0
"""Three machines from one image, with one credential, become one cluster and stay it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from nacl.utils import random
from playwright.sync_api import expect

from agent.identity import identity_of_seed
from agent.users.user import User
from harness.browser import open_page, run_browser
from harness.cluster import read_status, wait_formed
from harness.lab import Lab
from harness.machine import Machine
from harness.model import JOIN_CREDENTIAL, Boot, Json, NodeSpec
from harness.tunnel import Tunnel
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential
from tests.example_users import make_key

UNDERLAY_LISTENERS = {("udp", 68), ("udp", 546), ("udp", 5353), ("udp", 51820), ("udp", 7946), ("tcp", 7946)}
MESH_LISTENERS = {("tcp", 7950), ("tcp", 7980)}
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


def test_three_machines_form_one_cluster_by_themselves(trio: list[Machine]) -> None:
    documents = wait_formed(trio)
    assert genesis_of(documents)
    for machine in trio:
        assert machine.system_state() == "running"
        assert machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""
    # Everybody has the same members at the same addresses.
    views = {json.dumps([[m["node_id"], m["ipv4"], m["ipv6"]] for m in d["members"]]) for d in documents}
    assert len(views) == 1
    assert {document["mesh"]["interface"] for document in documents} == {"mesh0"}


def test_the_mesh_carries_what_the_underlay_does_not_let_in(trio: list[Machine]) -> None:
    first, second = trio[:2]
    mesh = read_status(second)["mesh"]["ipv4"]
    assert first.run("python3", "-c", _fetch(mesh, 7980)).startswith("HTTP/1.1 200")
    assert first.execute(["python3", "-c", _fetch(second.spec.address, 7980)]).status != 0
    assert first.execute(["python3", "-c", _fetch(second.spec.address, 7950)]).status != 0


def test_a_member_listens_where_it_should_and_nowhere_else(trio: list[Machine]) -> None:
    machine = trio[0]
    mesh = read_status(machine)["mesh"]
    lines = machine.run("ss", "--no-header", "--listening", "--tcp", "--udp", "--numeric").splitlines()
    underlay: set[tuple[str, int]] = set()
    own: set[tuple[str, int]] = set()
    for line in lines:
        protocol, _state, _received, _sent, local, *_rest = line.split()
        address, port = local.rsplit(":", 1)
        if address.startswith("127.") or address == "[::1]":
            continue
        there = address.strip("[]") in (mesh["ipv4"], mesh["ipv6"])
        (own if there else underlay).add((protocol, int(port)))
    assert underlay - UNDERLAY_LISTENERS == set()
    assert own == MESH_LISTENERS


def test_the_page_shows_the_cluster_to_a_browser(trio: list[Machine], tmp_path: Path) -> None:
    mesh = read_status(trio[0])["mesh"]["ipv4"]
    with closing(Tunnel(trio[0], mesh, 7980, 0)) as tunnel, run_browser(tmp_path) as browser:
        context = browser.new_context()
        with open_page(context) as (page, complaints):
            page.goto(f"http://localhost:{tunnel.port}/")
            state = page.get_by_role("status")
            expect(state).to_contain_text("All is well: 3 members", timeout=CHANGE_LIMIT * 1000)
            assert page.locator("#members tbody tr").count() == 3
            expect(page.locator("#roles")).to_contain_text("names")
            assert complaints.said == []


def test_the_agent_shows_its_cluster_to_people(trio: list[Machine]) -> None:
    table = trio[0].run("node-agent", "members")
    for machine in trio:
        assert machine.run("hostname") in table
    assert "coordinator" in trio[0].run("node-agent", "leaders")
    assert trio[0].execute(["node-agent", "status"]).status == 0


def test_no_secret_of_the_cluster_is_where_others_can_read_it(trio: list[Machine], boot: Boot) -> None:
    key = json.loads(boot.credentials[JOIN_CREDENTIAL])["gossip_key"]
    script = f"journalctl -b --no-pager | grep -F '{key}'; cat /proc/*/cmdline | grep -aF '{key}'"
    # grep itself has the key in its arguments, and the shell that runs it.
    found = [line for line in trio[0].execute(["sh", "-c", script]).text.splitlines() if "grep" not in line]
    assert found == []
    assert trio[0].run("stat", "--format=%a %U", "/run/cluster-os/serf.json") == "600 clusteros"


@pytest.mark.full
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


@pytest.mark.full
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


@pytest.mark.full
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


def _fetch(host: str, port: int) -> str:
    request = "GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"
    return (
        f"import socket; s = socket.create_connection(('{host}', {port}), 5); "
        f"s.sendall(b'{request}'); print(s.recv(64).decode())"
    )
