# SPDX-License-Identifier: Apache-2.0
"""Who may be a member: the credential, its ticket, and the three policies.

The tests of this file share one cluster of three founders under the policy `approve`, and go on from one to
the next; each uses machines of its own.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from nacl.utils import random

from agent.cluster import Policy
from agent.identity import identity_of_node_id
from tests.cluster.bundle import Operator, encode, make_credential
from tests.cluster.machines import Machine, Machines, wait_formed
from tests.cluster.watching import members_of, peers_of, wait_led, wait_members, wait_phase, wait_status


class Lab(NamedTuple):
    operator: Operator
    machines: Machines
    founders: list[Machine]


@pytest.fixture(scope="module")
def lab(heap: Machines) -> Iterator[Lab]:
    """The cluster of this file: machines 1 to 3."""
    operator = Operator(3, policy=Policy.APPROVE)
    founders = heap.start(3, encode(operator.issue()))
    wait_formed(founders)
    yield Lab(operator, heap, founders)


def test_without_the_credential_a_machine_learns_nothing_and_changes_nothing(lab: Lab) -> None:
    before = [_lasting(machine.status()) for machine in lab.founders]
    stranger, target = lab.machines[9], lab.founders[0]
    stranger.give(encode(make_credential(3), seeds=tuple(machine.address for machine in lab.founders)))
    stranger.start()
    wait_phase(stranger, "forming", "1 of 3 planned machines in sight")
    done = stranger.inside("python3", "-S", "-c", _KNOCK, target.address)
    assert json.loads(done.stdout) == {"open": [7946]}, done.stderr
    # Serf has taken garbage meanwhile, and goes on; the stranger is seen by nobody.
    status = wait_status(target, "to see its members", lambda status: _alive(status) == 3)
    assert status["error"] is None
    assert stranger.status()["members"] == stranger.status()["foreign"] == []
    assert [_lasting(machine.status()) for machine in lab.founders] == before
    stranger.cut_power()


def test_a_ticket_that_another_key_signed_lets_nobody_in(lab: Lab) -> None:
    forger = lab.machines[8]
    forger.give(encode(lab.operator.issue(signer=random(32))))
    forger.start()
    wait_phase(forger, "joining", "signed by a key that has no say in this cluster")
    assert not (forger.state / "agent/genesis.msgpack").exists()
    forger.cut_power()


def test_a_node_waits_for_approval_and_both_ends_show_its_fingerprint(lab: Lab) -> None:
    joiner = lab.machines[4]
    joiner.give(encode(lab.operator.issue()))
    joiner.start()
    wait_phase(joiner, "pending", "it waits for an operator: node-agent approve")
    fingerprint = identity_of_node_id(joiner.node_id).fingerprint
    own = joiner.command("status", "--json")
    assert own.returncode == 5
    assert json.loads(own.stdout)["fingerprint"] == fingerprint
    assert fingerprint in joiner.command("console", "--once").stdout
    for machine in lab.founders:
        wait_status(machine, "who waits", lambda status: _pending(status) == {joiner.node_id})
        shown = machine.command("members")
        assert shown.returncode == 0
        assert f"fingerprint  {fingerprint}" in shown.stdout
    assert joiner.node_id not in members_of(lab.founders[0].status())


def test_an_approved_node_gets_in_and_touches_one_mesh_peer_of_the_others(lab: Lab) -> None:
    joiner = lab.machines[4]
    before = {machine.name: peers_of(machine) for machine in lab.founders}
    starts = {machine.name: len(machine.log()) for machine in lab.founders}
    assert all(len(peers) == 2 for peers in before.values())
    done = lab.founders[1].command("approve", "--json", joiner.node_id[:12])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["node_id"] == joiner.node_id
    everybody = [*lab.founders, joiner]
    wait_formed(everybody)
    key = identity_of_node_id(joiner.node_id).wireguard_public_key
    for machine in lab.founders:
        wait_status(machine, "a mesh of four", lambda status: _mesh_up(status) == 3)
        assert peers_of(machine) == before[machine.name] | {key}
        log = machine.log()[starts[machine.name] :]
        assert "set 1 mesh peer" in log
        assert "mesh peers" not in log, "more than one was touched"
        assert "removed" not in log
    # It pays to say it in one place: all have the same addresses of all.
    found = [_addresses(machine.status()) for machine in everybody]
    assert found == [found[0]] * 4
    pinged = joiner.inside("ping", "-c1", "-W5", found[0][lab.founders[0].node_id][1])
    assert pinged.returncode == 0, pinged.stdout


def test_a_token_is_not_judged_by_an_unsynchronised_clock_but_an_operator_may_let_its_node_in(
    lab: Lab,
) -> None:
    joiner, voter = lab.machines[5], lab.founders[2]
    file = joiner.folder / "token.json"
    issued = voter.command("token", "--ttl", "1h", "--output", str(file), "--json")
    assert issued.returncode == 0, issued.stderr
    assert "credential" not in json.loads(issued.stdout)
    assert file.stat().st_mode & 0o777 == 0o600
    joiner.start()
    wait_phase(joiner, "waiting", "it has no join credential")
    assert joiner.command("status").returncode == 4
    taken = joiner.command("join", str(file))
    assert taken.returncode == 0, taken.stderr
    wait_phase(joiner, "pending", "the clock here is not synchronised")
    assert voter.command("approve", joiner.node_id).returncode == 0
    wait_phase(joiner, "member")
    # It keeps what it was given: after a reboot it is a member, with no credential of systemd's.
    joiner.cut_power()
    joiner.start()
    wait_formed([*lab.founders, lab.machines[4], joiner])


def test_a_member_without_a_vote_issues_no_token_and_says_who_does(lab: Lab) -> None:
    done = lab.machines[4].command("token")
    assert done.returncode == 1
    assert "only a voter can issue a token" in done.stderr
    assert lab.founders[0].node_id in done.stderr


def test_a_member_takes_no_other_credential(lab: Lab) -> None:
    file = lab.machines[4].folder / "other.json"
    file.write_bytes(encode(make_credential(3)))
    done = lab.machines[4].command("join", str(file))
    assert done.returncode == 1
    assert "belongs to cluster lab already" in done.stderr


def test_who_leaves_is_no_member_any_more_and_knows_it(lab: Lab) -> None:
    leaver = lab.machines[5]
    done = leaver.command("leave", "--yes")
    assert done.returncode == 0, done.stderr
    wait_phase(leaver, "removed")
    assert leaver.command("status").returncode == 6
    wait_members([*lab.founders, lab.machines[4]], {m.node_id for m in (*lab.founders, lab.machines[4])})
    leaver.cut_power()
    leaver.start()
    wait_phase(leaver, "removed", "wipe /var")


def test_under_an_allowlist_only_listed_nodes_get_in_until_an_operator_approves(machines: Machines) -> None:
    founder, listed, other, endorsed = (machines[number] for number in (1, 2, 3, 4))
    endorsed.ek, other.ek = "0e" * 32, "0f" * 32
    operator = Operator(
        1, policy=Policy.ALLOWLIST, allowlist=(founder.node_id, listed.node_id, f"ek:{endorsed.ek}")
    )
    machines.start(4, encode(operator.issue()))
    inside = [founder, listed, endorsed]
    wait_members(inside, {machine.node_id for machine in inside})
    wait_phase(other, "joining", "it is not on the allowlist")
    assert founder.command("approve", other.node_id).returncode == 0
    wait_formed([*inside, other])
    # Of these only one votes, as one machine was planned: it cannot be taken from the others.
    voter = wait_led([*inside, other])
    refused = other.command("remove", "--yes", voter)
    assert refused.returncode == 1
    assert "is the last voter: another member has to vote first" in refused.stderr


_KNOCK = """
import json, os, socket, sys
host, found = sys.argv[1], []
for port in (22, 7373, 7946, 7950, 7980, 51820):
    try:
        with socket.create_connection((host, port), timeout=0.5) as connection:
            found.append(port)
            connection.sendall(os.urandom(2000))
    except OSError:
        pass
for port in (7946, 51820):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for size in (1, 60, 148, 600, 1400):
            sender.sendto(os.urandom(size), (host, port))
print(json.dumps({"open": found}))
"""


def _lasting(status: dict[str, Any]) -> object:
    """Return what must not change by what a stranger does."""
    return status["cluster"], members_of(status), status["removed"], status["raft"]["term"], status["secrets"]


def _alive(status: dict[str, Any]) -> int:
    return sum(member["state"] == "alive" for member in status["members"])


def _pending(status: dict[str, Any]) -> set[str]:
    return {node["node_id"] for node in status["pending"]}


def _mesh_up(status: dict[str, Any]) -> int:
    return sum(peer["state"] == "up" for peer in status["mesh"]["peers"])


def _addresses(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {member["node_id"]: (member["ipv4"], member["ipv6"]) for member in status["members"]}
