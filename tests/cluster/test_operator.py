# SPDX-License-Identifier: Apache-2.0
"""What an operator asks of a running agent by `node-agent`. The tests share one cluster of one machine."""

import json
import signal
import tarfile
from base64 import b64decode, b64encode
from collections.abc import Iterator

import pytest

from agent.control.client import ask
from agent.membership.secrets import decode_at_rest
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import Machine, Machines, wait_formed
from tests.cluster.watching import LIMIT, wait_led, wait_status


@pytest.fixture(scope="module")
def node(heap: Machines) -> Iterator[Machine]:
    """The one machine of this file's cluster."""
    heap.start(1, encode(make_credential(1)))
    wait_formed([heap[1]])
    yield heap[1]


def test_status_and_leaders_of_a_healthy_cluster_are_shown_to_people_and_to_programs(node: Machine) -> None:
    wait_status(node, "a coordinator", lambda status: status["leases"])
    shown = node.command("status")
    assert shown.returncode == 0, shown.stdout
    assert "1 (1 alive), 1 of them vote" in shown.stdout
    content = json.loads(node.command("status", "--json").stdout)
    assert content["agent"] == "running"
    assert content["first_boot_complete"] is True
    assert content["problems"] == []
    leaders = node.command("leaders")
    assert leaders.returncode == 0
    assert "raft: this node leads" in leaders.stdout
    assert "coordinator" in leaders.stdout
    (lease,) = json.loads(node.command("leaders", "--json").stdout)["leases"]
    assert (lease["role"], lease["holder"], lease["epoch"]) == ("coordinator", node.node_id, 1)


def test_a_request_that_names_nobody_changes_nothing_and_says_so(node: Machine) -> None:
    before = node.status()["raft"]["commit_index"], node.status()["members"]
    for arguments, reason in (
        (("approve", "nobody"), "no node is called"),
        (("remove", "--yes", "n-nobody"), "no node is called"),
        (("approve", node.node_id), "is a member already"),
        (("join", "no-such-file!"), "is no file"),
        (("token", "--ttl", "1s"), "from 1 minute to 10 years"),
    ):
        done = node.command(*arguments)
        assert done.returncode != 0
        assert reason in done.stderr, (arguments, done.stderr)
    assert (node.status()["raft"]["commit_index"], node.status()["members"]) >= before


def test_a_second_agent_of_one_node_does_not_start(node: Machine) -> None:
    done = node.command("start")
    assert done.returncode == 1
    assert "another agent is running" in done.stderr
    assert node.command("status").returncode == 0


def test_a_support_archive_holds_what_helps_and_no_secret(node: Machine) -> None:
    token = json.loads(json.loads(node.command("token", "--json").stdout)["credential"])
    path = node.folder / "support.tar.gz"
    done = node.command("support", "--output", str(path))
    assert done.returncode == 0, done.stderr
    with tarfile.open(path) as archive:
        content = {
            member.name.partition("/")[2]: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive.getmembers()
        }
    assert {"agent/status.json", "agent/ledger.json", "agent/gossip.json", "contents.txt"} <= content.keys()
    assert node.node_id in json.loads(content["agent/ledger.json"])["members"]
    own = json.loads((node.run / "self.json").read_bytes())["seed"]
    secrets_file = node.state / "agent/secrets.msgpack"
    secrets = decode_at_rest(secrets_file.read_bytes(), bytes.fromhex(own), str(secrets_file))
    assert secrets.admission_seed is not None
    rpc = json.loads((node.run / "serf.json").read_bytes())["rpc_auth"]
    hidden = [own, rpc, secrets.raft_password, token["gossip_key"], token["ticket"]["signature"]]
    for secret in (secrets.gossip_key, secrets.admission_seed, bytes.fromhex(own)):
        hidden += [secret.hex(), b64encode(secret).decode()]
    everything = b"".join(content.values())
    for text in hidden:
        assert text.encode() not in everything
    assert b64decode(token["gossip_key"]) not in everything


def test_no_secret_is_in_arguments_logs_or_files_for_everybody(node: Machine) -> None:
    own = json.loads((node.run / "self.json").read_bytes())["seed"]
    serf = json.loads((node.run / "serf.json").read_bytes())
    token = json.loads(json.loads(node.command("token", "--json").stdout)["credential"])
    hidden = [own, serf["encrypt_key"], serf["rpc_auth"], token["ticket"]["nonce"]]
    arguments = node.inside("ps", "-ewwo", "args").stdout
    for text in hidden:
        assert text not in arguments
        assert text not in node.log()
        assert text not in node.log("serf")
    readable = [path for path in (*node.state.rglob("*"), *node.run.iterdir()) if path.is_file()]
    for path in readable:
        if path.stat().st_mode & 0o044:
            assert not any(text.encode() in path.read_bytes() for text in hidden), path
    assert (node.state / "agent").stat().st_mode & 0o777 == 0o700


def test_a_reload_takes_a_changed_configuration_and_keeps_the_old_one_when_it_is_wrong(node: Machine) -> None:
    file = node.state / "node.yaml"
    file.write_text("log:\n  level: nonsense\n")
    checked = node.command("config", "check", str(file))
    assert checked.returncode != 0
    assert "log.level" in checked.stderr
    node.kill("agent", signal.SIGHUP)
    wait_for("the log to say what is wrong", lambda: "log.level" in node.log(), LIMIT)
    assert node.command("status").returncode == 0
    file.write_text("log:\n  level: warning\n")
    assert node.command("config", "check", str(file)).returncode == 0
    node.kill("agent", signal.SIGHUP)
    wait_for("the new level", lambda: _level(node) == "warning", LIMIT)
    file.unlink()


def _level(node: Machine) -> str:
    """Return the level of the log with which the agent runs, as it tells for a support archive."""
    answer = ask(node.run / "agent.sock", {"request": "support"})
    return str(json.loads(answer["files"]["configuration.json"])["log"]["level"])


def test_what_was_last_known_is_shown_where_the_agent_does_not_run(node: Machine) -> None:
    node.kill("agent", signal.SIGTERM)
    shown = node.command("members")
    assert node.node_id[:12] in shown.stdout
    assert "the agent is not running: this is the last known state" in shown.stderr
    assert node.command("status").returncode == 8
    assert "the agent is not running" in node.command("remove", "--yes", node.node_id).stderr
    node.start_agent()
    wait_led([node])
    # That it ended is no goodbye: it is what it was.
    wait_status(node, "to be a member", lambda status: status["phase"] == "member")
