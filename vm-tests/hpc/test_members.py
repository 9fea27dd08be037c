# SPDX-License-Identifier: Apache-2.0
"""Three machines from one image, with one credential, become one cluster by themselves; what it is like."""

import json
from contextlib import closing
from pathlib import Path

from playwright.sync_api import expect

from harness.browser import open_page, run_browser
from harness.cluster import find_holder, read_status, wait_formed
from harness.machine import Machine
from harness.model import JOIN_CREDENTIAL, Boot
from harness.tunnel import Tunnel

SLURMD = ("tcp", 6818)
UNDERLAY_LISTENERS = {("udp", 68), ("udp", 546), ("udp", 5353), ("udp", 51820), ("udp", 7946), ("tcp", 7946)}
MESH_LISTENERS = {("tcp", 7950), ("tcp", 7980), ("tcp", 6820), ("tcp", 6821)}
"""Of Raft, of the page, and of the copies of both roles that have some."""
LIMIT = 120.0
"""Seconds for what a running cluster does about a change, on busy cores under TCG."""


def test_three_machines_form_one_cluster_by_themselves(trio: list[Machine]) -> None:
    documents = wait_formed(trio)
    assert len({document["cluster"]["genesis"] for document in documents}) == 1
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
    for port in (7950, 6817, 6818, 6820):
        assert first.execute(["python3", "-c", _fetch(second.spec.address, port)]).status != 0


def test_a_member_listens_where_it_should_and_nowhere_else(trio: list[Machine]) -> None:
    # One that has neither SLURM's controller nor the hub.
    holders = [find_holder(trio, role) for role in ("slurm-controller", "jupyterhub")]
    machine = next(machine for machine in trio if machine not in holders)
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
    # SLURM knows no address to listen at; the firewall does, see above.
    assert underlay - UNDERLAY_LISTENERS == {SLURMD}
    assert own == MESH_LISTENERS


def test_the_page_shows_the_cluster_to_a_browser(trio: list[Machine], tmp_path: Path) -> None:
    mesh = read_status(trio[0])["mesh"]["ipv4"]
    with closing(Tunnel(trio[0], mesh, 7980, 0)) as tunnel, run_browser(tmp_path) as browser:
        context = browser.new_context()
        with open_page(context) as (page, complaints):
            page.goto(f"http://localhost:{tunnel.port}/")
            state = page.get_by_role("status")
            expect(state).to_contain_text("All is well: 3 members", timeout=LIMIT * 1000)
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


def _fetch(host: str, port: int) -> str:
    request = "GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"
    return (
        f"import socket; s = socket.create_connection(('{host}', {port}), 5); "
        f"s.sendall(b'{request}'); print(s.recv(64).decode())"
    )
