# SPDX-License-Identifier: Apache-2.0
"""What the roles of Kubernetes give k3s to read. k3s itself is not here: see docs/kubernetes.md."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.facts import read_facts
from agent.roles.order import Host, Order, ServerGroup, ServerHost
from agent.roles.render import render
from agent.roles.role import Form, Kind, OnChange
from agent.roles.role_file import read_role
from agent.tree import Tree
from image.toolstree import ToolsTree
from tests.exposure import measure_exposure
from tests.k3s_recorder.configuration import AGENT_KEYS, SERVER_KEYS
from tests.small_cluster import NODES

PROJECT = Path(__file__).parent.parent
OVERLAY = PROJECT / "overlays/k3s"
SERVER, AGENT = (
    read_role(OVERLAY / f"usr/lib/cluster-os/roles/{name}") for name in ("k3s-server", "k3s-agent")
)
HOSTS = [
    Host(node, f"n-{number}", f"10.86.0.{number + 1}", "fd00::1", voter=True)
    for number, node in enumerate(NODES)
]
ADDRESS = "fd00::7"
HIGHEST_EXPOSURE = 2.5
"""It speaks to the API on this machine as root, without capabilities."""


def make(me: int, ready: int, *, chosen: int | None = None, **changes: Any) -> Order:  # noqa: ANN401
    """An order to member `me`, where `chosen` are servers and of them so many run."""
    nodes = tuple(
        ServerHost(**vars(HOSTS[number]), ready=number < ready)
        for number in range(ready if chosen is None else chosen)
    )
    group = ServerGroup("k3s-server", 2, NODES[0], ready > 0, ADDRESS, nodes)
    made = Order(
        "lab", "10.86.0.0/16", "fd00::/64", HOSTS[me], tuple(HOSTS), (), (), (), (group,), interface="mesh0"
    )
    return replace(made, **changes)


def server(order: Order) -> dict[str, Any]:
    files = render(SERVER, order, read_facts(Tree()), 17, lambda name: f"/run/{name}")
    content: dict[str, Any] = yaml.safe_load(files["/run/cluster-os-k3s/config.yaml"])
    return content


def test_one_server_begins_and_the_others_join_it_by_the_moving_name() -> None:
    first = server(make(0, 0, chosen=1))
    assert first["cluster-init"] is True
    assert "server" not in first
    for number, order in ((1, make(1, 1, chosen=2)), (2, make(2, 2, chosen=3))):
        joining = server(order)
        assert "cluster-init" not in joining
        assert joining["server"] == "https://k3s-server:6443"
        assert joining["node-ip"] == joining["advertise-address"] == HOSTS[number].ipv4
    assert {"k3s-server", ADDRESS} == set(first["tls-san"])


def test_who_began_it_never_does_so_again_with_others_or_alone() -> None:
    for order in (make(0, 1), make(0, 3), make(0, 1, chosen=2)):
        assert "cluster-init" not in server(order)
    assert "server" not in server(make(0, 1)), "alone it has nobody to ask, and its database"
    assert server(make(0, 3))["server"] == "https://k3s-server:6443"


def test_a_server_that_is_chosen_again_begins_with_an_empty_folder() -> None:
    assert server(make(0, 3))["data-dir"] == "/var/lib/rancher/k3s/server-17"


def test_servers_agree_on_all_that_they_must_agree_on() -> None:
    one, two = server(make(0, 3)), server(make(1, 3))
    own = {"node-name", "node-ip", "advertise-address"}
    assert {key: one[key] for key in one.keys() - own} == {key: two[key] for key in two.keys() - own}


def test_an_agent_has_the_agents_token_alone() -> None:
    files = render(AGENT, make(5, 3), read_facts(Tree()), 0, lambda name: f"/run/{name}")
    content = yaml.safe_load(files["/run/cluster-os-k3s/config.yaml"])
    assert content == {
        "data-dir": "/var/lib/rancher/k3s/agent-2",
        "node-name": "n-5",
        "node-ip": "10.86.0.6",
        "flannel-iface": "mesh0",
        "server": "https://k3s-server:6443",
        "token-file": "/run/credentials/k3s-agent.service/agent-token",
    }
    assert [each.name for each in AGENT.secrets] == ["k3s-server/agent-token"]
    assert content.keys() <= AGENT_KEYS


@pytest.mark.parametrize(
    ("mesh", "pods", "services"),
    [
        ("10.86.0.0/16", "10.42.0.0/16", "10.43.0.0/16"),
        ("172.16.0.0/12", "10.42.0.0/16", "10.43.0.0/16"),
        ("192.168.0.0/16", "10.42.0.0/16", "10.43.0.0/16"),
        ("10.0.0.0/8", "172.30.0.0/16", "172.31.0.0/16"),
        ("10.32.0.0/12", "172.30.0.0/16", "172.31.0.0/16"),
        ("10.42.128.0/20", "172.30.0.0/16", "172.31.0.0/16"),
        ("10.43.0.0/16", "172.30.0.0/16", "172.31.0.0/16"),
    ],
)
def test_pods_and_services_have_no_address_of_the_mesh(mesh: str, pods: str, services: str) -> None:
    order = make(0, 3, ipv4_range=mesh)
    content = server(order)
    assert (content["cluster-cidr"], content["service-cidr"]) == (pods, services)
    assert content["cluster-dns"] == services.replace("0.0/16", "0.10")
    for role in (SERVER, AGENT):
        files = render(role, order, read_facts(Tree()), 1, str)
        assert f"ip saddr {pods} accept".encode() in files["/run/cluster-os-k3s/firewall.nft"]


def test_every_key_is_one_that_the_recorder_knows() -> None:
    for order in (make(0, 0, chosen=1), make(1, 1, chosen=2)):
        assert server(order).keys() <= SERVER_KEYS


def test_no_change_of_the_others_starts_kubernetes_again() -> None:
    for role in (SERVER, AGENT):
        assert {file.on_change for file in role.files} == {OnChange.NOTHING}
        assert {file.mode for file in role.files} == {0o600}
        assert all(each.form is Form.HEX and not each.renewed for each in role.secrets)


def test_a_member_is_a_server_or_an_agent() -> None:
    assert (SERVER.kind, SERVER.count) == (Kind.SERVERS, 3)
    assert (AGENT.kind, AGENT.needs, AGENT.unless) == (Kind.EVERY, ("k3s-server",), ("k3s-server",))


def test_units_get_the_tokens_that_their_configuration_names_and_nothing_else() -> None:
    for role, names in ((SERVER, {"token", "agent-token"}), (AGENT, {"agent-token"})):
        unit = (OVERLAY / f"usr/lib/systemd/system/{role.units[0]}").read_text()
        loaded = {
            line.removeprefix("LoadCredential=").partition(":")[0]: line.partition(":")[2]
            for line in unit.splitlines()
            if line.startswith("LoadCredential=")
        }
        assert loaded == {name: f"/run/cluster-os-roles/secrets/k3s-server.{name}" for name in names}
        for path in (file.path for file in role.files):
            assert path in unit


def test_the_rules_for_pods_are_the_same_on_servers_and_agents() -> None:
    texts = {(role.folder / "firewall.nft.j2").read_text() for role in (SERVER, AGENT)}
    assert len(texts) == 1


@pytest.mark.parametrize("name", ["k3s-server.service", "k3s-agent.service", "k3s-forget@.service"])
def test_systemd_understands_each_unit(tools: ToolsTree, tmp_path: Path, name: str) -> None:
    text = (OVERLAY / "usr/lib/systemd/system" / name).read_text()
    # The programs are those of the image.
    text = re.sub(r"^(ExecStart(?:Pre)?=)\S+", r"\1/usr/bin/true", text, flags=re.MULTILINE)
    copy = tmp_path / name.replace("@.", "@n-x.")
    copy.write_text(text)
    argv = tools.command(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_lets_go_of_members_may_do_little(tools: ToolsTree) -> None:
    unit = OVERLAY / "usr/lib/systemd/system/k3s-forget@.service"
    assert measure_exposure(tools, unit) <= HIGHEST_EXPOSURE
