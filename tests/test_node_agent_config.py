# SPDX-License-Identifier: Apache-2.0
"""`node-agent config` tells all that is wrong at once, and where each value is from."""

import json
from pathlib import Path

import pytest

from agent.command import main

Captured = pytest.CaptureFixture[str]


def test_a_good_file_is_said_to_be_good(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("log: {level: debug}\n")
    assert main(["config", "check", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: no errors\n"
    assert main(["config", "check", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "file": str(path)}


def test_all_errors_of_a_file_are_told_at_once(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("log: {level: loud}\nmetrics: {port: 0}\nnonsense: {}\n")
    assert main(["config", "check", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    first, *errors, hint = captured.err.splitlines()
    assert first == "error: there are 3 errors in the configuration:"
    assert [error.split(": ")[1] for error in errors] == ["log.level", "metrics.port", "nonsense"]
    assert hint == "hint: correct each and try again"


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capsys: Captured) -> None:
    assert main(["config", "check", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml: there is no such file" in capsys.readouterr().err


def test_the_configuration_is_shown_with_where_each_value_is_from(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("log: {level: debug}\nnetworking: {open_ports: [tcp/22, udp/53], mtu: 1300}\n")
    monkeypatch.setenv("CLUSTEROS_NETWORKING_MTU", "1280")
    assert main(["config", "show", "--state", str(tmp_path)]) == 0
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()}
    assert lines["log.level"].split() == ["debug", str(path)]
    assert lines["networking.mtu"].split() == ["1280", "environment"]
    assert lines["networking.open_ports"].startswith("tcp/22, udp/53 ")
    assert lines["discovery.mdns"].split()[0] == "true"
    assert lines["discovery.mdns"].endswith("usr/lib/cluster-os/node.yaml")
    assert main(["config", "show", "--json", "--state", str(tmp_path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["values"]["networking"]["mtu"] == 1280
    assert shown["from"]["networking"]["mtu"] == "environment"


def test_a_configuration_that_is_wrong_is_not_shown(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "node.yaml").write_text("log: {level: loud}\n")
    assert main(["config", "show", "--state", str(tmp_path)]) == 1
    assert "log.level: 'loud' is not one of" in capsys.readouterr().err
