# SPDX-License-Identifier: Apache-2.0
"""A cluster on a bad network: narrow, lossy, with hardly an address to spare, and no clock is right."""

import ipaddress
import time
from pathlib import Path

import pytest
from nacl.utils import random

from agent.identity import identity_of_seed
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import FORM_LIMIT, Machine, Machines, wait_formed
from tests.cluster.observed import (
    check_one_holder,
    ledger,
    process,
    stays,
    terms,
    wait_alive,
    wait_holder,
    wait_leader,
)

RANGE = "10.86.0.0/29"
CLOCKS = ("-9000d", "+400d", "", "-1d", "+1d")
NARROW = 1280
LOSS = 10  # per cent, of what each machine gets
CREDENTIAL = encode(make_credential(5), ipv4_range=RANGE)


@pytest.fixture(scope="module")
def cluster(heap: Machines) -> list[Machine]:
    """Five members."""
    machines = [heap[number] for number in range(1, 6)]
    for machine, clock in zip(machines, CLOCKS, strict=True):
        machine.clock = clock
        narrow(machine)
    wait_formed(heap.start(5, CREDENTIAL))
    wait_alive(machines, FORM_LIMIT)
    return machines


def narrow(machine: Machine) -> None:
    done = machine.inside("ip", "link", "set", "eth0", "mtu", str(NARROW))
    assert done.returncode == 0, done.stderr


def lose(machine: Machine, rule: str) -> None:
    """Have nftables drop packets that come in; sch_netem is not in every kernel."""
    done = machine.inside("nft", rule)
    assert done.returncode == 0, done.stderr


def test_machines_with_wrong_clocks_form_one_cluster(cluster: list[Machine]) -> None:
    for machine in cluster:
        maps = Path(f"/proc/{process(machine, 'agent')}/maps").read_text()
        assert ("libfaketime" in maps) == bool(machine.clock)
        assert "an error of the agent itself" not in machine.log()
    wait_holder(cluster, FORM_LIMIT)
    wait_leader(cluster, FORM_LIMIT)


def test_on_a_path_with_an_mtu_of_1280_packets_of_the_mesh_arrive_whole(cluster: list[Machine]) -> None:
    sender, receiver = cluster[:2]
    mesh = receiver.status()["mesh"]
    assert mesh["mtu"] == NARROW
    assert any("fragmented" in warning for warning in sender.status()["warnings"])
    largest = str(NARROW - 28)
    done = sender.inside("ping", "-c3", "-i0.2", "-w5", "-Mdo", f"-s{largest}", mesh["ipv4"])
    assert " 0% packet loss" in done.stdout, done.stdout + done.stderr


def test_addresses_that_collide_are_settled_alike_everywhere(cluster: list[Machine]) -> None:
    found = [{node: member.ipv4 for node, member in ledger(machine).members.items()} for machine in cluster]
    assert all(addresses == found[0] for addresses in found)
    assert len(set(found[0].values())) == len(cluster)
    assert {machine.status()["mesh"]["ipv4"] for machine in cluster} == set(found[0].values())


def test_with_a_tenth_of_all_packets_lost_the_cluster_works_and_grows(
    heap: Machines, cluster: list[Machine]
) -> None:
    late = heap[6]
    late.give(CREDENTIAL)
    narrow(late)
    everybody = [*cluster, late]
    for machine in everybody:
        lose(machine, "add table inet loss")
        lose(machine, "add chain inet loss input { type filter hook prerouting priority -400 ; }")
        lose(machine, f'add rule inet loss input iifname "eth0" numgen random mod 100 < {LOSS} counter drop')
    began = time.monotonic()
    late.start()
    wait_formed(everybody, FORM_LIMIT)
    print(f"join with {LOSS} % loss: {time.monotonic() - began:.1f} s")
    # The range is full now, to its last address.
    addresses = {member.ipv4 for member in ledger(late).members.values()}
    assert addresses == {str(address) for address in ipaddress.ip_network(RANGE).hosts()}
    epochs = {lease["epoch"] for machine in cluster for lease in machine.status()["leases"]}
    for machine in everybody:
        node = identity_of_seed(random(32)).node_id
        began = time.monotonic()
        done = machine.command("approve", node)
        assert done.returncode == 0, done.stderr
        print(f"a write with {LOSS} % loss: {time.monotonic() - began:.1f} s")
    stays("all see each other", lambda: _alive(everybody), 5)
    wait_holder(everybody, FORM_LIMIT)
    check_one_holder(term for machine in everybody for term in terms(machine))
    later = {lease["epoch"] for machine in cluster for lease in machine.status()["leases"]}
    print(f"epochs of the role before and after: {epochs}, {later}")
    for machine in everybody:
        lost = machine.inside("nft", "list", "table", "inet", "loss").stdout
        assert int(lost.split("counter packets ")[1].split()[0]) > 10
        lose(machine, "delete table inet loss")
    wait_for("all to agree", lambda: len({ledger(machine).approved for machine in everybody}) == 1, 20)
    assert len(ledger(late).approved) == len(everybody)


def _alive(machines: list[Machine]) -> bool:
    return all(member["state"] == "alive" for machine in machines for member in machine.status()["members"])
