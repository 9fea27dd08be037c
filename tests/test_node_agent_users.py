# SPDX-License-Identifier: Apache-2.0
"""`node-agent users`: what it asks the agent, what it shows, and that no hash is shown."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from agent.users.user import to_json
from tests.answering_agent import Agent
from tests.example_users import ALICE, BOB, HASH, MAPS, make_key


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    found = Agent(tmp_path)
    shown = [to_json(user, secret=False) for user in (ALICE, BOB)]
    found.answers["users"] = {"users": shown, "revision": 7}
    yield found
    found.server.close()


def changes(agent: Agent) -> list[dict[str, object]]:
    return [request for request in agent.asked if request["request"] != "users"]


def test_the_list_is_for_people_and_for_programs(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent.run("users", "list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME   UID   GROUPS              SSH KEYS  PASSWORD  SHELL",
        "alice  1001  video,physics:5000  2         yes       /bin/bash",
        "bob    1002  physics:5000        0         no        /bin/sh",
    ]
    assert agent.run("users", "list", "--json") == 0
    users = json.loads(capsys.readouterr().out)["users"]
    assert [(user["name"], user["has_password"]) for user in users] == [("alice", True), ("bob", False)]
    agent.answers["users"] = {"users": [], "revision": 0}
    assert agent.run("users", "list") == 0
    assert capsys.readouterr().out == "the cluster has no users\n"


def test_set_gives_what_the_file_says_and_asks_before_it_removes(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "users": [MAPS["alice"]]}))
    assert agent.run("users", "set", str(path)) == 1
    assert "bob will be removed: this needs a confirmation" in capsys.readouterr().err
    assert changes(agent) == []
    assert agent.run("users", "set", "--yes", str(path)) == 0
    assert changes(agent) == [{"request": "users-set", "users": [to_json(ALICE, secret=True)]}]
    out = capsys.readouterr()
    assert HASH not in out.out + out.err


def test_a_file_that_is_wrong_is_refused_before_anything_is_asked(
    agent: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "users.yaml"
    path.write_text("version: 1\nusers: [{name: root, uid: 0, password_hash: hunter2}]\n")
    assert agent.run("users", "set", "--yes", str(path)) == 1
    told = capsys.readouterr().err
    assert f"there are 3 errors in {path}:" in told
    assert "hunter2" not in told
    assert agent.asked == []


def test_add_and_change_read_keys_and_hash_from_files(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "id.pub"
    keys.write_text(f"# two\n{make_key()}\n\n{make_key('b')}\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(HASH.encode() + b"\n")))
    options = ["--groups", "video,physics:5000", "--ssh-keys", str(keys), "--password-hash", "-"]
    assert agent.run("users", "add", "carol", "--uid", "1003", *options) == 0
    values = {
        "groups": ["video", "physics:5000"],
        "ssh_keys": [make_key(), make_key("b")],
        "password_hash": HASH,
    }
    assert changes(agent) == [{"request": "users-add", "user": {"name": "carol", "uid": 1003, **values}}]
    assert agent.run("users", "change", "carol", "--groups", "", "--password-hash", "", "--ssh-keys", "") == 0
    nothing: dict[str, object] = {"groups": [], "ssh_keys": [], "password_hash": None}
    assert changes(agent)[1] == {"request": "users-change", "name": "carol", "values": nothing}
    assert agent.run("users", "change", "carol") == 1
    assert agent.run("users", "remove", "carol", "--yes") == 0
    assert changes(agent)[2:] == [{"request": "users-remove", "name": "carol"}]


def test_remove_asks_first(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent.run("users", "remove", "bob") == 1
    assert "user bob will be removed: this needs a confirmation" in capsys.readouterr().err
    assert changes(agent) == []


def test_what_the_agent_refuses_is_told(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.answers["users-remove"] = {"error": "there is no user 'eve'"}
    assert agent.run("users", "remove", "eve", "--yes") == 1
    assert capsys.readouterr().err == "error: there is no user 'eve'\nhint: try again\n"


def test_an_answer_that_is_none_is_no_traceback(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    for users in ("x", [1], [{"name": "x"}]):
        agent.answers["users"] = {"users": users}
        assert agent.run("users", "list") == 1
        assert "that is no answer of an agent" in capsys.readouterr().err
