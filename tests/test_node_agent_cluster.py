# SPDX-License-Identifier: Apache-2.0
"""The commands that show the cluster, with an agent, after it, and without one."""

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
from agent.status import published
from tests.answering_agent import Agent
from tests.example_status import HOSTNAMES, NODES, PENDING
from tests.otheruser import do_as_other_user

Captured = pytest.CaptureFixture[str]


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
    assert content["leases"][0] == {
        "role": "coordinator",
        "holder": NODES[1],
        "epoch": 4,
        "left": None,
    }
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
