# SPDX-License-Identifier: Apache-2.0
"""What is done before k3s starts, with a real kernel and nft in a network namespace."""

import subprocess
from pathlib import Path

import pytest

from agent.facts import read_facts
from agent.mesh.firewall import Firewall, render, render_ranges
from agent.roles.render import render as render_role
from agent.tree import Tree
from image.toolstree import ToolsTree
from tests.test_k3s_role import AGENT, OVERLAY, SERVER, make

PREPARE = OVERLAY / "usr/lib/cluster-os/k3s/prepare"
FORGET = OVERLAY / "usr/lib/cluster-os/k3s/forget"
MESH = "ip link add mesh0 type bridge; ip addr add 10.86.0.1/16 dev mesh0; ip link set mesh0 up"


class Node:
    """A network namespace with the node's rules, and a configuration of k3s."""

    def __init__(self, tools: ToolsTree, folder: Path, config: str) -> None:
        self._tools, self.folder, self.data = tools, folder, folder / "server-17"
        (folder / "config.yaml").write_text(f"data-dir: {self.data}\nflannel-iface: mesh0\n{config}")
        files = render_role(SERVER, make(0, 3), read_facts(Tree()), 17, str)
        (folder / "rules.nft").write_bytes(files["/run/cluster-os-k3s/firewall.nft"])
        (folder / "images").mkdir()
        (folder / "images/some.tar.zst").write_text("")
        rules = render(Firewall("mesh0", 51820, 7946, mdns=True)) + render_ranges(["10.86.0.0/16"])
        (folder / "node.nft").write_text(rules)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script in a new namespace in which `prepare` is what the unit runs."""
        head = (
            f"prepare() {{ sh {PREPARE} {self.folder}/config.yaml {self.folder}/rules.nft "
            f"{self.folder}/images; }}; nft -f {self.folder}/node.nft; {MESH}; "
        )
        argv = self._tools.command(["sh", "-ec", head + script])
        enter = ["unshare", "--user", "--map-root-user", "--net", "--"]
        return subprocess.run([*enter, *argv], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def joining(tools: ToolsTree, tmp_path: Path) -> Node:
    return Node(tools, tmp_path, "server: https://k3s-server:6443\n")


def test_a_default_route_is_there_afterwards_and_any_other_stays(joining: Node) -> None:
    done = joining.run("prepare; prepare; ip -4 route show default")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["default", "dev", "mesh0", "scope", "link", "metric", "4294967295"]
    done = joining.run(
        "ip link add eth0 type bridge; ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up;"
        "ip route add default via 192.0.2.1; prepare; ip -4 route show default"
    )
    assert done.stdout.strip() == "default via 192.0.2.1 dev eth0"


def test_the_rules_for_pods_are_there_once_however_often_it_runs(joining: Node) -> None:
    done = joining.run("prepare; prepare; nft list table inet cluster-os")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("jump k3s-input") == done.stdout.count("jump k3s-forward") == 1
    assert done.stdout.count("ip saddr 10.42.0.0/16 accept") == 3
    # A reload of the node's rules keeps them.
    done = joining.run(f"prepare; nft -f {joining.folder}/node.nft; nft list table inet cluster-os")
    assert done.stdout.count("jump k3s-input") == 1
    assert done.stdout.count("ip saddr 10.42.0.0/16 accept") == 3


def test_archives_of_container_images_are_where_k3s_looks_for_them(joining: Node) -> None:
    assert joining.run("prepare; prepare").returncode == 0
    (link,) = (joining.data / "agent/images").iterdir()
    assert link.readlink() == joining.folder / "images/some.tar.zst"


def test_a_server_without_database_that_nobody_can_give_it_does_not_start(
    tools: ToolsTree, tmp_path: Path
) -> None:
    alone = Node(tools, tmp_path, "")
    done = alone.run("prepare")
    assert done.returncode == 1
    assert "is gone, and there is no other server" in done.stderr
    (alone.data / "server/db/etcd").mkdir(parents=True)
    assert alone.run("prepare").returncode == 0


@pytest.mark.parametrize("config", ["cluster-init: true\n", "server: https://k3s-server:6443\n"])
def test_a_server_that_begins_or_joins_needs_no_database(
    tools: ToolsTree, tmp_path: Path, config: str
) -> None:
    assert Node(tools, tmp_path, config).run("prepare").returncode == 0


def test_an_agent_needs_none_either(tools: ToolsTree, tmp_path: Path) -> None:
    files = render_role(AGENT, make(5, 3), read_facts(Tree()), 0, str)
    node = Node(tools, tmp_path, "")
    text = files["/run/cluster-os-k3s/config.yaml"].decode()
    text = text.replace("/var/lib/rancher/k3s", str(tmp_path))
    (tmp_path / "config.yaml").write_text(text)
    assert node.run("prepare").returncode == 0


def test_it_lets_go_of_the_node_and_then_of_its_password(tmp_path: Path) -> None:
    (tmp_path / "k3s").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "k3s").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = ["sh", str(FORGET), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)

    node, password = run("n-x").stdout.splitlines()
    assert node == "kubectl delete node n-x --ignore-not-found --timeout=60s"
    assert password.startswith("kubectl delete secret n-x.node-password.k3s --namespace=kube-system ")
    assert "--ignore-not-found" in password
    for wrong in ((), ("--all",), ("",), ("n-",)):
        assert run(*wrong).returncode == 2
    (tmp_path / "k3s").write_text("#!/bin/sh\nexit 1\n")
    assert run("n-x").returncode == 1, "it is tried again"
