# SPDX-License-Identifier: Apache-2.0
"""The commands that decide who is a member ask the agent for exactly what a person has said."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.membership.credential import encode
from tests.answering_agent import Agent
from tests.example_status import HOSTNAMES, NODES, PENDING
from tests.test_credential import GOOD

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path)
    yield agent
    agent.server.close()


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


def test_a_role_begins_anew_only_when_somebody_says_yes(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert agent.run("role", "reset", "db") == 1
    assert "the data that it had is lost" in capsys.readouterr().err
    assert agent.asked == []
    assert agent.run("role", "reset", "db", "--yes") == 0
    assert agent.asked == [{"request": "reset", "role": "db"}]


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


def test_join_gives_the_agent_the_whole_credential(agent: Agent, tmp_path: Path) -> None:
    text = encode(GOOD).decode()
    path = tmp_path / "join.json"
    path.write_text(text)
    assert agent.run("join", str(path)) == 0
    assert agent.asked == [{"request": "join", "credential": text}]


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
