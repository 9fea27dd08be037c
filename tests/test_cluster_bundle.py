# SPDX-License-Identifier: Apache-2.0
"""Bundles of `./build.py cluster`: what is made, what is refused, and that secrets stay where they belong."""

import argparse
from pathlib import Path

import pytest
import yaml

from agent.cluster import Policy
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.membership.credential import NAME
from agent.membership.ticket import Judged, judge_ticket
from image import commands
from image.arguments import register
from image.cluster import bundle
from image.cluster.secret_file import Secrets, encode_secrets
from tests.cluster_command import cluster, credential_of, mode, refuse
from tests.example_users import ALICE, BOB, HASH, MAPS

NODES = [identity_of_seed(bytes([number]) * 32).node_id for number in range(1, 5)]


def test_a_new_cluster_has_a_plan_secrets_and_a_credential(tmp_path: Path) -> None:
    assert cluster(tmp_path, "new", "lab", "--machines", "5") == 0
    folder = tmp_path / "clusters/lab"
    made = bundle.load(tmp_path / "clusters", "lab")
    assert (made.plan.machines, made.plan.voters, made.plan.policy) == (5, 5, Policy.AUTO)
    assert made.plan.ipv4_range == "10.86.0.0/16"
    assert made.plan.operator_key == identity_of_seed(made.secrets.operator_seed).public_key
    assert mode(folder) == 0o700
    modes = {path.name: mode(path) for path in folder.iterdir()}
    assert modes == {"cluster.yaml": 0o644, "secret.json": 0o600, "users.yaml": 0o600, NAME: 0o600}
    credential = credential_of(tmp_path)
    assert credential.gossip_key == made.secrets.gossip_key
    assert (credential.cluster_id, credential.name, credential.machines) == (made.plan.cluster_id, "lab", 5)
    assert credential.ticket.expires is None
    assert not credential.ticket.founder
    verdict = judge_ticket(
        credential.ticket, credential.cluster_id, [made.plan.operator_key], 0.0, clock_synchronised=False
    )
    assert verdict.judged is Judged.GOOD


def test_all_options_reach_the_credential(tmp_path: Path) -> None:
    options = [
        "--machines",
        "7",
        "--voters",
        "3",
        "--policy",
        "allowlist",
        "--allow",
        *NODES,
        "ek:" + "0f" * 32,
    ]
    options += [
        "--ipv4-range",
        "192.168.7.0/24",
        "--seeds",
        "a.example:7946,192.0.2.1",
        "--srv",
        "_c._udp.example",
    ]
    cluster(tmp_path, "new", "lab", *options)
    found = credential_of(tmp_path)
    assert (found.machines, found.voters, found.policy) == (7, 3, Policy.ALLOWLIST)
    assert found.allowlist == (*NODES, "ek:" + "0f" * 32)
    assert (found.ipv4_range, found.seeds) == ("192.168.7.0/24", ("a.example:7946", "192.0.2.1"))
    assert found.srv == "_c._udp.example"


def test_two_clusters_share_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        cluster(tmp_path, "new", name)
    one, two = (bundle.load(tmp_path / "clusters", name) for name in ("one", "two"))
    assert one.plan.cluster_id != two.plan.cluster_id
    assert one.secrets.gossip_key != two.secrets.gossip_key
    assert one.secrets.operator_seed != two.secrets.operator_seed


@pytest.mark.parametrize(
    ("machines", "voters"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (9, 5), (1000, 5), (0, 3)]
)
def test_voters_are_the_largest_odd_number_that_the_machines_allow(
    tmp_path: Path, machines: int, voters: int
) -> None:
    cluster(tmp_path, "new", "lab", "--machines", str(machines))
    assert bundle.load(tmp_path / "clusters", "lab").plan.voters == voters


def test_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    cluster(tmp_path, "new", "lab")
    folder = tmp_path / "clusters/lab"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert "never overwritten" in refuse(tmp_path, "new", "lab").message
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    for name, make in (("file", Path.touch), ("empty", Path.mkdir)):
        make(tmp_path / "clusters" / name)
        assert "never overwritten" in refuse(tmp_path, "new", name).message
    (tmp_path / "clusters/gone").symlink_to("nowhere")
    assert "never overwritten" in refuse(tmp_path, "new", "gone").message
    assert not [path for path in (tmp_path / "clusters").iterdir() if path.name.startswith(".")]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "clusters").touch()
    assert refuse(tmp_path, "new", "lab").message.startswith(f"cannot write {tmp_path}/clusters: ")


def test_an_unknown_cluster_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    assert "cluster new" in refuse(tmp_path, "show", "lab").hint
    for name in ("two", "one"):
        cluster(tmp_path, "new", name)
    for verb in (["show"], ["credential"], ["token"]):
        error = refuse(tmp_path, verb[0], "lab")
        assert error.message == f"there is no cluster 'lab' in {tmp_path}/clusters"
        assert error.hint == "there are: one, two"
    for name in ("../one", "", ".", "ONE"):
        assert "is no name of a cluster" in refuse(tmp_path, "show", name).message


def test_no_command_shows_a_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster(tmp_path, "new", "lab", "--machines", "0")
    for argv in (["show", "lab"], ["list"], ["credential", "lab"], ["token", "lab"]):
        cluster(tmp_path, *argv)
    shown = capsys.readouterr().out
    assert "SECRET" in shown
    text = (tmp_path / "clusters/lab/secret.json").read_text() + repr(
        bundle.load(tmp_path / "clusters", "lab")
    )
    for line in (tmp_path / "clusters/lab/secret.json").read_text().splitlines():
        if "seed" in line or "gossip" in line:
            assert line.split('"')[3] not in shown
    assert "secrets=Secrets(cluster_id=" in text
    assert "operator_seed=" not in text


def test_a_list_also_names_what_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("good", "bad"):
        cluster(tmp_path, "new", name)
    (tmp_path / "clusters/bad/cluster.yaml").write_text("name: [")
    capsys.readouterr()
    cluster(tmp_path, "list")
    bad, good = capsys.readouterr().out.splitlines()
    assert bad.startswith("bad ")
    assert "not YAML" in bad
    assert good == "good             cluster good, 3 machines, 3 voters, policy auto"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """The folder of a cluster `lab` in `tmp_path`."""
    cluster(tmp_path, "new", "lab")
    return tmp_path / "clusters/lab"


def test_secrets_that_others_can_read_are_refused(lab: Path) -> None:
    (lab / "secret.json").chmod(0o640)
    with pytest.raises(ClusterError, match="can be read by other users") as caught:
        bundle.load(lab.parent, "lab")
    assert f"chmod 600 {lab}/secret.json" in caught.value.hint


def test_halves_of_two_bundles_are_refused(lab: Path) -> None:
    (lab / "secret.json").write_bytes(encode_secrets(Secrets("a" * 26, b"\1" * 32, b"\2" * 32)))
    with pytest.raises(ClusterError, match="are not of one cluster"):
        bundle.load(lab.parent, "lab")


@pytest.mark.parametrize("file", ["cluster.yaml", "secret.json"])
def test_a_missing_half_is_named(lab: Path, file: str) -> None:
    (lab / file).unlink()
    with pytest.raises(ClusterError, match=f"{file} is missing"):
        bundle.load(lab.parent, "lab")
    (lab / file).mkdir()
    with pytest.raises(ClusterError, match=f"cannot read .*{file}: is a directory"):
        bundle.load(lab.parent, "lab")


def test_a_bundle_has_the_name_of_its_folder(lab: Path) -> None:
    lab.rename(lab.with_name("other"))
    with pytest.raises(ClusterError, match="name: must be other, as the folder is"):
        bundle.load(lab.parent, "other")


def test_build_py_has_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers(dest="command"))
    assert commands.run(parser.parse_args(["cluster", "new", "lab"]), tmp_path) == 0
    assert "next: ./build.py vm up --nodes 3 --cluster lab" in capsys.readouterr().out


def test_users_of_the_bundle_reach_its_credentials_and_are_shown_without_hashes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster(tmp_path, "new", "lab")
    assert credential_of(tmp_path).users == ()
    content = {"version": 1, "users": list(MAPS.values())}
    (tmp_path / "clusters/lab/users.yaml").write_text(yaml.safe_dump(content))
    cluster(tmp_path, "credential", "lab")
    assert credential_of(tmp_path).users == (ALICE, BOB)
    capsys.readouterr()
    cluster(tmp_path, "show", "lab")
    shown = capsys.readouterr().out
    assert "alice bob" in shown
    assert HASH not in shown
    (tmp_path / "clusters/lab/users.yaml").unlink()
    assert bundle.load(tmp_path / "clusters", "lab").users == ()


def test_users_that_are_wrong_too_many_or_open_to_others_are_refused(tmp_path: Path) -> None:
    cluster(tmp_path, "new", "lab")
    path = tmp_path / "clusters/lab/users.yaml"
    path.write_text("version: 1\nusers: [{name: root, uid: 0}]\n")
    assert "there are 2 errors in" in refuse(tmp_path, "credential", "lab").message
    many = [{"name": f"u{number}", "uid": 1000 + number} for number in range(1000)]
    path.write_text(yaml.safe_dump({"version": 1, "users": many}))
    assert "node-agent users set" in refuse(tmp_path, "show", "lab").hint
    path.chmod(0o644)
    assert "can be read by other users" in refuse(tmp_path, "show", "lab").message
