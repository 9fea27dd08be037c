# SPDX-License-Identifier: Apache-2.0
"""The recorder that stands in the place of k3s: it must refuse what is wrong, or it proves nothing."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.k3s_recorder import node
from tests.k3s_recorder.api import Api
from tests.k3s_recorder.configuration import Refused, check, read_config, read_token
from tests.k3s_recorder.node import begin, join
from tests.k3s_recorder.pack import pack
from tests.k3s_recorder.record import Record

ROUTES = "Iface\tDestination\tGateway\nmesh0\t00000000\t00000000\n"


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "token").write_text("ab" * 32)
    return {
        "data-dir": str(tmp_path / "data"),
        "node-name": "n-one",
        "node-ip": "10.86.0.1",
        "flannel-iface": "mesh0",
        "token-file": str(tmp_path / "token"),
    }


@pytest.mark.parametrize(
    ("kind", "change", "routes", "reason"),
    [
        ("server", {"cluster-unit": "true"}, ROUTES, "unknown keys: cluster-unit"),
        ("agent", {"cluster-init": "true", "server": "x"}, ROUTES, "unknown keys: cluster-init"),
        ("agent", {}, ROUTES, "an agent needs a server"),
        ("server", {"cluster-init": "true", "server": "x"}, ROUTES, "joins nobody"),
        ("server", {}, ROUTES.splitlines()[0], "no default route"),
    ],
)
def test_what_k3s_would_not_start_with_is_refused(
    config: dict[str, Any], kind: str, change: dict[str, str], routes: str, reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        check(kind, {**config, **change}, routes=routes)
    check("server", config, routes=ROUTES)
    with pytest.raises(Refused, match="missing keys: node-ip"):
        check("server", {key: config[key] for key in config.keys() - {"node-ip"}}, routes=ROUTES)


@pytest.mark.parametrize("content", ["", "abc\n", "K10abc::server:x"])
def test_a_token_is_a_short_one_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(Refused, match="no token"):
        read_token(str(tmp_path / "token"))


def test_only_cluster_init_or_a_database_begins_and_the_database_stays(config: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="another cluster"):
        begin(config)
    first = begin({**config, "cluster-init": "true"})
    assert begin(config) == begin({**config, "cluster-init": "true"}) == first


def test_who_has_the_token_of_its_kind_is_let_in_and_gets_the_clusters_identifier(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "RETRY", 0.05)
    (tmp_path / "other").write_text("cd" * 32)
    api = Api("identifier", {"server": "ab" * 32, "agent": "cd" * 32}, Record(tmp_path / "r"), port=0)
    asked = {**config, "server": f"https://127.0.0.1:{api.port}"}
    assert begin(asked) == "identifier"
    assert (tmp_path / "data/server/db/etcd/identifier").read_text() == "identifier"
    assert join({**asked, "token-file": str(tmp_path / "other")}, "agent") == "identifier"
    # The server's token is not the agents', so this one asks for ever.
    threading.Thread(target=join, args=(asked, "agent"), daemon=True).start()
    for _ in range(100):
        threading.Event().wait(0.05)
        lines = [json.loads(line) for line in (tmp_path / "r/record").read_text().splitlines()]
        if lines[-1]["what"] == "refused":
            break
    assert [line["what"] for line in lines[:3]] == ["let in", "let in", "refused"]
    assert "ab" * 32 not in (tmp_path / "r/record").read_text()


def test_it_reads_what_the_templates_write(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text('# x\na: 1\nserver: https://k3s-server:6443\nb:\n  - c\n  - d\nmode: "0600"\n')
    expected = {"a": "1", "server": "https://k3s-server:6443", "b": ["c", "d"], "mode": "0600"}
    assert read_config(path) == expected


def test_kubectl_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "FOLDER", tmp_path / "r")
    assert node.act(["kubectl", "delete", "node", "n-x"]) == 0
    assert json.loads((tmp_path / "r/record").read_text())["arguments"] == ["delete", "node", "n-x"]


def test_it_is_one_program_that_finds_all_that_it_is_made_of(tmp_path: Path) -> None:
    program = pack(tmp_path / "out/k3s")
    assert program.read_bytes().startswith(b"#!/usr/bin/python3 -I\n")
    argv = [sys.executable, str(program), "controller"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "not a command line of the roles: ['controller']" in done.stderr
