# SPDX-License-Identifier: Apache-2.0
"""role.yaml: what is read from it, and that all errors are told at once."""

import re
from pathlib import Path

import pytest

from agent.errors import ClusterError
from agent.roles.role import Census, Drain, Form, Kind, OnChange, Placement, SharedSecret
from agent.roles.role_file import read_role, read_roles

PROJECT = Path(__file__).parent.parent
UNITS = PROJECT / "units/cluster"
# That of overlays/pods is laid over another one: tests/test_pods.py.
FOLDERS = sorted(
    {*PROJECT.glob("overlays/*/usr/lib/cluster-os/roles/*")} - {*PROJECT.glob("overlays/pods/**/roles/*")}
)
GOOD = """\
version: 1
kind: leader
description: an example
placement: {cores: 2, memory: 512, gpu: true, labels: [ssd]}
needs: [other-role]
secrets: [{name: example/key, bytes: 32}]
files:
  - {path: /etc/example.conf, template: example.conf.j2, owner: nobody, mode: '0640', on_change: reload}
units: [example.service]
health: {command: [/usr/bin/true], every: 5}
status: {command: [/usr/bin/true]}
"""


def write(folder: Path, content: str) -> Path:
    role = folder / "example"
    role.mkdir()
    (role / "role.yaml").write_text(content)
    (role / "example.conf.j2").write_text("")
    return role


def test_a_role_is_read(tmp_path: Path) -> None:
    role = read_role(write(tmp_path, GOOD))
    assert (role.name, role.kind, role.units) == ("example", Kind.LEADER, ("example.service",))
    assert role.placement == Placement(cores=2, memory=512, gpu=True, labels=("ssd",))
    assert role.files[0].mode == 0o640
    assert role.files[0].on_change is OnChange.RELOAD
    assert role.health is not None
    assert role.health.failures == 3
    assert role.status == Census(("/usr/bin/true",), 15)
    assert role.drain is None
    assert list(read_roles(tmp_path)) == ["example"]


def test_a_drain_is_read_and_refused_of_a_leader(tmp_path: Path) -> None:
    drain = "drain: {command: [/usr/bin/true]}\n"
    every = write(tmp_path, GOOD.replace("kind: leader", "kind: every") + drain)
    assert read_role(every).drain == Drain(("/usr/bin/true",), 600)
    (every / "role.yaml").write_text(GOOD + drain)
    with pytest.raises(ClusterError, match="drain: a role of kind leader has none"):
        read_role(every)


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        """\
version: 2
kind: sometimes
placement: {cores: 0, wheels: 4}
files: [{path: /usr/bin/x, template: none.j2, mode: 644}]
secrets: [{name: key}]
units: [x]
health: {command: [true]}
status: {command: [/usr/bin/true], every: 1}
colour: red
""",
    )
    with pytest.raises(ClusterError) as caught:
        read_role(folder)
    for words in (
        "version: must be 1",
        "kind: must be leader, servers or every",
        "description: missing",
        "placement.cores: must be",
        "placement.'wheels': no such key",
        "files[0].path: must be an absolute path below /etc or /run",
        "files[0].mode: must be octal digits",
        "there is no none.j2",
        "secrets[0].name: must be ROLE/NAME",
        "secrets[0].bytes: missing",
        "units: must be",
        "health.command: must be",
        "status.every: must be a whole number, 5 to 3600",
        "'colour': no such key",
    ):
        assert words in caught.value.message
    assert "node-agent role check" in caught.value.hint


SERVERS = """\
version: 1
kind: servers
description: an example
count: 5
replace_after: 600
secrets: [{name: example/token, bytes: 16, form: hex, renewed: false}]
units: [example.service]
on_removed: [/usr/bin/true, '{hostname}']
"""


def test_a_role_of_kind_servers_is_read(tmp_path: Path) -> None:
    role = read_role(write(tmp_path, SERVERS))
    assert (role.kind, role.count, role.replace_after) == (Kind.SERVERS, 5, 600)
    assert role.on_removed == ("/usr/bin/true", "{hostname}")
    assert role.secrets == (SharedSecret("example/token", 16, Form.HEX, renewed=False),)


def test_what_only_one_kind_has_is_refused_of_the_others(tmp_path: Path) -> None:
    wrong = GOOD + "count: 2\nreplace_after: 60\nunless: [db]\n"
    with pytest.raises(ClusterError) as caught:
        read_role(write(tmp_path, wrong))
    for words in (
        "count: must be 1, 3, 5 or 7",
        "replace_after: only a role of kind servers has it",
        "unless: only a role of kind every has it",
    ):
        assert words in caught.value.message
    wrong = SERVERS.replace("'{hostname}'", "x").replace("bytes: 16", "bytes: 4000")
    (tmp_path / "again").mkdir()
    with pytest.raises(ClusterError) as caught:
        read_role(write(tmp_path / "again", wrong))
    assert "on_removed: must say who went" in caught.value.message
    assert "secrets[0].bytes: must be at most 2000 in the form hex" in caught.value.message


@pytest.mark.parametrize("content", ["", "[]", "a: [", "version: !!python/object:os.system x"])
def test_what_is_no_role_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ClusterError, match=r"role\.yaml"):
        read_role(write(tmp_path, content))


def test_a_folder_without_role_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no such file"):
        read_role(tmp_path)


def test_a_role_that_is_wrong_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/role.yaml").write_text("version: 1\n")
    assert list(read_roles(tmp_path)) == ["example"]
    assert "left out the role wrong: there are 3 errors" in caplog.text


def test_no_folder_no_roles(tmp_path: Path) -> None:
    assert read_roles(tmp_path / "none") == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_role_of_the_images_is_right(folder: Path) -> None:
    role = read_role(folder)
    if role.kind is Kind.LEADER:
        # What runs under a lease ends when nobody keeps its time.
        for unit in role.units:
            units = folder.parents[2] / "systemd/system"
            template = re.sub(r"@.*\.", "@.", unit)
            places = [units / unit, units / f"{unit}.d/10-cluster-os.conf", UNITS / template]
            texts = [path.read_text() for path in places if path.exists()]
            assert any("\nBindsTo=clusteros-roles.service\n" in text for text in texts), unit


def test_there_are_roles_to_check() -> None:
    found = {folder.name for folder in FOLDERS}
    assert {"jupyterhub", "names", "slurm-controller", "slurm-copies", "slurm-worker"} <= found
