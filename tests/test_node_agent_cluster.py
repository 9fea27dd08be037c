# SPDX-License-Identifier: Apache-2.0
"""The commands that speak to the agent, with a real socket and an agent whose answers are known."""

import io
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.cluster import Phase
from agent.command import main
from agent.control.server import ControlServer
from agent.errors import ClusterError
from agent.status import published
from agent.status.document import NodeStatus
from tests.example_status import HOSTNAMES, NODES, PENDING, make_status
from tests.otheruser import do_as_other_user

Captured = pytest.CaptureFixture[str]


class Agent:
    """An agent with a status, that keeps what it was asked to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.status: NodeStatus = make_status(pending=(PENDING,), removed=(NODES[7],))
        self.asked: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.server = ControlServer(folder / "agent.sock", self.handle)

    def handle(self, request: dict[str, Any], _uid: int) -> dict[str, Any]:
        if request["request"] == "status":
            return {"status": self.status.to_dict()}
        self.asked.append(request)
        answer = self.answers.get(request["request"], {"sentence": f"{request['request']}: done"})
        if "error" in answer:
            raise ClusterError(answer["error"], hint="try again")
        return answer

    def run(self, *arguments: str) -> int:
        places = ["--run", str(self.folder), "--state", str(self.folder / "state")]
        return main([*arguments, *places])


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path)
    yield agent
    agent.server.close()


@pytest.fixture
def set_up(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """The agent of a node whose first boot is complete."""
    state = agent.folder / "state"
    assert main(["init", "--state", str(state)]) == 0
    node_id = json.loads((state / "identity.json").read_bytes())["node_id"]
    (state / "firstboot.json").write_text(json.dumps({"version": 1, "node_id": node_id}))
    agent.status = replace(agent.status, node_id=node_id, members=())
    return agent


def test_status_is_the_sentence_and_then_the_cluster(set_up: Agent, capsys: Captured) -> None:
    capsys.readouterr()
    assert set_up.run("status") == 0
    sentence, empty, *rest = capsys.readouterr().out.splitlines()
    assert (sentence, empty) == ("no change: member of 5, voter", "")
    assert "cluster     lab, genesis 3f3f3f3f3f3f, policy auto, 5 machines planned" in rest
    assert any(line.startswith("note        1 node waits for approval") for line in rest)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"phase": Phase.WAITING}, 4),
        ({"phase": Phase.FORMING}, 4),
        ({"phase": Phase.PENDING}, 5),
        ({"phase": Phase.REMOVED}, 6),
        ({"error": "the disk is full"}, 7),
    ],
)
def test_the_exit_status_of_status_says_where_the_node_stands(
    set_up: Agent, changes: dict[str, Any], code: int, capsys: Captured
) -> None:
    set_up.status = replace(set_up.status, **changes)
    capsys.readouterr()
    assert set_up.run("status", "--json") == code
    content = json.loads(capsys.readouterr().out)
    assert content["agent"] == "running"
    assert content["first_boot_complete"] is True
    assert content["sentence"] == "no change: member of 5, voter"
    assert content["problems"] == (["last error: the disk is full"] if code == 7 else [])


def test_a_node_that_is_not_set_up_is_not_even_when_an_agent_runs(agent: Agent) -> None:
    assert agent.run("status") == 3


def test_when_the_agent_has_ended_status_shows_what_it_published_last(
    set_up: Agent, capsys: Captured
) -> None:
    published.write(set_up.folder / "status.json", set_up.status)
    set_up.server.close()
    capsys.readouterr()
    assert set_up.run("status") == 8
    out = capsys.readouterr().out
    assert out.startswith("the agent is not running: this is the last known state, ")
    assert "no change: member of 5, voter" in out
    assert set_up.run("status", "--json") == 8
    assert json.loads(capsys.readouterr().out)["agent"] == "stopped"
    for command in ("members", "leaders"):
        assert set_up.run(command) == 8
        assert "this is the last known state" in capsys.readouterr().err


def test_an_agent_that_never_came_up_is_missed_where_one_ran_before(set_up: Agent, capsys: Captured) -> None:
    set_up.server.close()
    capsys.readouterr()
    assert set_up.run("status") == 0
    assert capsys.readouterr().out.endswith("is set up\n")
    (set_up.folder / "state/agent").mkdir()
    assert set_up.run("status") == 8
    assert capsys.readouterr().out.endswith("is set up; its agent is not running\n")


def test_an_agent_of_another_node_is_not_mistaken_for_this_nodes(set_up: Agent, capsys: Captured) -> None:
    set_up.status = replace(set_up.status, node_id=NODES[3])
    assert set_up.run("status") == 1
    assert f"is of node {NODES[3]}, and the state in" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["members"],
        ["leaders"],
        ["approve", NODES[6]],
        ["remove", "--yes", NODES[2]],
        ["leave", "--yes"],
        ["recover"],
        ["token"],
        ["join", "192.0.2.1"],
    ],
)
def test_without_an_agent_the_error_says_how_to_see_why(
    tmp_path: Path, command: list[str], capsys: Captured
) -> None:
    assert main([*command, "--run", str(tmp_path)]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: the agent is not running")
    assert hint == "hint: see why: systemctl status clusteros-agent; journalctl -b -u clusteros-agent"


def test_members_are_listed_with_who_waits_and_who_was_removed(agent: Agent, capsys: Captured) -> None:
    assert agent.run("members") == 0
    out = capsys.readouterr().out
    for text in (*HOSTNAMES[:5], PENDING.fingerprint, NODES[7]):
        assert text in out
    assert agent.run("members", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert [member["node_id"] for member in content["members"]] == NODES[:5]
    assert content["pending"][0]["fingerprint"] == PENDING.fingerprint


def test_leaders_are_listed_with_role_holder_and_epoch(agent: Agent, capsys: Captured) -> None:
    assert agent.run("leaders") == 0
    assert "coordinator" in capsys.readouterr().out
    assert agent.run("leaders", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["leases"][0] == {"role": "coordinator", "holder": NODES[1], "epoch": 4}
    assert content["raft"]["term"] == 3


def test_a_user_without_privileges_reads_what_the_agent_publishes(agent: Agent, tmp_path: Path) -> None:
    # Also loads all that the other user, who cannot read this repository, will need.
    assert agent.run("members") == 0
    published.write(tmp_path / "status.json", replace(agent.status, published=time.monotonic()))
    (tmp_path / "agent.sock").chmod(0o000)
    tmp_path.chmod(0o755)

    def members() -> bytes:
        sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
        code = main(["members", "--json", "--run", "."])
        return json.dumps([code, sys.stdout.getvalue(), sys.stderr.getvalue()]).encode()

    code, out, err = json.loads(do_as_other_user(tmp_path, members))
    assert (code, err) == (0, "")
    assert json.loads(out)["members"][0]["node_id"] == NODES[0]


def test_approve_takes_the_beginning_of_a_pending_node_id(agent: Agent, capsys: Captured) -> None:
    assert agent.run("approve", NODES[6][:6]) == 0
    assert agent.asked == [{"request": "approve", "node": NODES[6]}]
    assert capsys.readouterr().out == f"approve: done\nfingerprint {PENDING.fingerprint}\n"


def test_approve_does_not_take_a_member_for_a_pending_node(agent: Agent, capsys: Captured) -> None:
    assert agent.run("approve", HOSTNAMES[1]) == 1
    assert "no node is called" in capsys.readouterr().err
    assert agent.asked == []


def test_a_node_may_be_approved_before_it_asks(agent: Agent) -> None:
    assert agent.run("approve", "--json", NODES[5]) == 0
    assert agent.asked == [{"request": "approve", "node": NODES[5]}]


@pytest.mark.parametrize("command", [["remove", HOSTNAMES[2]], ["leave"]])
def test_what_is_final_needs_a_confirmation(
    agent: Agent, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert agent.run(*command) == 1
    assert capsys.readouterr().err.splitlines()[1] == "hint: add --yes"
    for typed, code in (("no\n", 1), ("\n", 1), ("", 1), ("yes\n", 0)):
        terminal = io.StringIO(typed)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)
        assert agent.run(*command) == code
    assert len(agent.asked) == 1
    assert agent.run(*command, "--yes") == 0
    assert len(agent.asked) == 2


def test_remove_says_what_it_removes_and_takes_a_host_name(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    agent.run("remove", HOSTNAMES[1])
    assert f"member {NODES[1]} ({HOSTNAMES[1]}, the leader, alive) will be removed" in capsys.readouterr().err
    assert agent.run("remove", "--yes", HOSTNAMES[1]) == 0
    assert agent.asked == [{"request": "remove", "node": NODES[1]}]


def test_an_error_of_the_agent_is_shown_with_its_hint(agent: Agent, capsys: Captured) -> None:
    agent.answers["remove"] = {"error": "it is the last voter"}
    assert agent.run("remove", "--yes", NODES[1]) == 1
    assert capsys.readouterr().err == "error: it is the last voter\nhint: try again\n"


def test_recover_shows_first_and_drops_exactly_what_it_showed(agent: Agent, capsys: Captured) -> None:
    agent.answers["recover"] = {"sentence": "2 of 3 voters are lost", "keep": NODES[:1], "drop": NODES[1:3]}
    assert agent.run("recover") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "2 of 3 voters are lost"
    assert [line.split()[0] for line in captured.out.splitlines()[3:]] == ["keep", "drop", "drop"]
    assert captured.err == "nothing was changed; to do it: node-agent recover --yes\n"
    assert agent.asked == [{"request": "recover", "confirm": False, "drop": []}]
    assert agent.run("recover", "--yes", "--json") == 0
    assert agent.asked[-1] == {"request": "recover", "confirm": True, "drop": NODES[1:3]}
    assert json.loads(capsys.readouterr().out)["done"] is True


def test_a_token_is_printed_or_kept_from_others(agent: Agent, tmp_path: Path, capsys: Captured) -> None:
    agent.answers["token"] = {"credential": '{"secret": 1}\n', "expires": 1_800_000_000}
    assert agent.run("token") == 0
    captured = capsys.readouterr()
    assert captured.out == '{"secret": 1}\n'
    assert captured.err == "this credential is secret, and ends at 2027-01-15 08:00:00 UTC\n"
    assert agent.asked == [{"request": "token", "ttl": 86_400}]
    path = tmp_path / "join.json"
    assert agent.run("token", "--ttl", "30m", "--output", str(path)) == 0
    assert agent.asked[-1]["ttl"] == 1800
    assert path.read_text() == '{"secret": 1}\n'
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secret" not in capsys.readouterr().out
    assert agent.run("token", "--output", str(path)) == 1


@pytest.mark.parametrize("ttl", ["", "24", "1y", "-1h", "0h", "1.5h"])
def test_a_length_of_time_that_is_none_is_wrong_usage(agent: Agent, ttl: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        agent.run("token", f"--ttl={ttl}")
    assert caught.value.code == 2
    assert "is not a length of time" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["192.0.2.1", "seed.example:7946", "[2001:db8::1]:7946"])
def test_join_tells_the_agent_of_a_host(agent: Agent, host: str) -> None:
    assert agent.run("join", host) == 0
    assert agent.asked == [{"request": "join", "host": host}]


@pytest.mark.parametrize("content", ["", "{}", "\0\xff", '{"version": 1, "gossip_key": "SECRET"}'])
def test_a_file_that_is_no_credential_is_not_given_to_the_agent(
    agent: Agent, tmp_path: Path, content: str, capsys: Captured
) -> None:
    path = tmp_path / "join.json"
    path.write_text(content, "latin1")
    assert agent.run("join", str(path)) == 1
    err = capsys.readouterr().err
    assert str(path) in err.splitlines()[0]
    assert "SECRET" not in err
    assert agent.asked == []


def test_a_name_that_is_neither_file_nor_host_is_refused(agent: Agent, capsys: Captured) -> None:
    assert agent.run("join", "./no such file") == 1
    assert "is no file, and no HOST[:PORT]" in capsys.readouterr().err
