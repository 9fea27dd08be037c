# SPDX-License-Identifier: Apache-2.0
"""Notebooks as pods: what servers of Kubernetes and the hub are given to know each other by."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.errors import ClusterError
from agent.roles.role_file import read_role
from hub import endpoint
from hub.spawners import KUBE, list_profiles
from image.toolstree import ToolsTree
from tests.exposure import measure_exposure
from tests.k3s_recorder.api import Api
from tests.k3s_recorder.configuration import Refused, read_config, read_manifests, read_users
from tests.k3s_recorder.objects import Objects
from tests.k3s_recorder.record import Record

PROJECT = Path(__file__).parents[1]
OVERLAY = PROJECT / "overlays/pods/usr/lib"
MANIFEST = OVERLAY / "cluster-os/k3s/manifests/jupyterhub.yaml"
TOKEN = "ab" * 32
HIGHEST_EXPOSURE = 2.5
"""It speaks to servers of Kubernetes over the mesh, as the hub's user."""


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """What k3s reads after `admit-jupyterhub`, run as its unit does."""
    path = tmp_path / "config.yaml"
    path.write_text(f"data-dir: {tmp_path}/data\ndisable:\n  - traefik\n")
    (tmp_path / "jupyterhub").write_text(TOKEN)
    for _ in range(2):
        subprocess.run(
            [OVERLAY / "cluster-os/k3s/admit-jupyterhub", path, MANIFEST],
            env={**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)},
            check=True,
        )
    return read_config(path)


@pytest.fixture
def api(config: dict[str, Any], tmp_path: Path) -> Api:
    """A server that was given that."""
    objects = Objects(read_manifests(config))
    return Api("id", {}, Record(tmp_path / "r"), port=0, users=read_users(config), objects=objects)


def test_a_server_knows_the_hub_by_its_token_beside_what_else_it_is_told(config: dict[str, Any]) -> None:
    assert config["disable"] == ["traefik"]
    assert read_users(config) == {TOKEN: "cluster-os:jupyterhub"}


def test_the_token_is_the_files_owners_alone(config: dict[str, Any], tmp_path: Path) -> None:
    assert (tmp_path / "jupyterhub.csv").stat().st_mode & 0o777 == 0o600
    (tmp_path / "jupyterhub.csv").chmod(0o644)
    with pytest.raises(Refused, match="is open to others"):
        read_users(config)
    said = [path.read_text() for path in (tmp_path / "config.yaml.d").iterdir()]
    assert TOKEN not in "".join(said)


def test_the_hub_tells_where_it_is_again_and_again(api: Api) -> None:
    for address in ("10.86.0.7", "10.86.0.7", "10.86.0.9"):
        endpoint.tell(endpoint.describe(address), TOKEN, server="127.0.0.1", port=api.port)
        _status, found = api.objects.answer("GET", endpoint.PATH, {})
        assert found["endpoints"][0]["addresses"] == [address]


def test_the_services_port_is_the_hubs_and_leads_to_what_the_hub_tells() -> None:
    documents = list(yaml.safe_load_all(MANIFEST.read_text()))
    (service,) = (each for each in documents if each["kind"] == "Service")
    told = endpoint.describe("10.86.0.7")
    assert told["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
    assert told["metadata"]["namespace"] == service["metadata"]["namespace"] == endpoint.NAMESPACE
    assert "selector" not in service["spec"]
    assert told["ports"] == service["spec"]["ports"]
    # So that this name is the hub's for pods, as it is on the mesh.
    assert service["metadata"]["name"] == "jupyterhub"


def test_who_is_not_known_or_may_not_is_refused_and_told(api: Api) -> None:
    told = endpoint.describe("10.86.0.7")
    with pytest.raises(ClusterError, match=r"\(401\)"):
        endpoint.tell(told, "cd" * 32, server="127.0.0.1", port=api.port)
    api.users = {TOKEN: "somebody"}
    with pytest.raises(ClusterError, match=r"\(403\).*somebody may not patch"):
        endpoint.tell(told, TOKEN, server="127.0.0.1", port=api.port)


def test_a_kubernetes_that_is_not_there_is_told() -> None:
    with pytest.raises(ClusterError, match="Kubernetes does not answer"):
        endpoint.tell(endpoint.describe("10.86.0.7"), TOKEN, server="127.0.0.1", port=1)


def test_a_profile_is_one_that_kubespawner_knows_too() -> None:
    for profile in list_profiles(slurm=False, kube=True):
        assert profile.spawner == KUBE
        assert [each["slug"] for each in profile.configuration["profile_list"]] == [profile.key]
        # Else the wrapper's, which are for jobs, would win.
        assert {"ip", "port", "environment"} <= profile.configuration.keys()


def test_servers_that_know_the_hub_are_the_servers_of_kubernetes_but_for_that(tmp_path: Path) -> None:
    folder = PROJECT / "overlays/k3s/usr/lib/cluster-os/roles/k3s-server"
    # As an image gets them: one tree over the other.
    merged = tmp_path / "k3s-server"
    shutil.copytree(folder, merged)
    shutil.copytree(OVERLAY / "cluster-os/roles/k3s-server", merged, dirs_exist_ok=True)
    with_hub, without = read_role(merged), read_role(folder)
    hub = read_role(PROJECT / "overlays/jupyter/usr/lib/cluster-os/roles/jupyterhub")
    (secret,) = (each for each in hub.secrets if each.name == "jupyterhub/kubernetes")
    assert with_hub == replace(without, folder=merged, secrets=(*without.secrets, secret))


def test_units_hand_that_secret_to_who_needs_it() -> None:
    line = "/run/cluster-os-roles/secrets/jupyterhub.kubernetes\n"
    assert line in (OVERLAY / "systemd/system/k3s-server.service.d/20-jupyterhub.conf").read_text()
    for unit in ("jupyterhub.service.d/20-kubernetes.conf", "clusteros-jupyterhub-endpoint.service"):
        assert f"LoadCredential=kubernetes:{line}" in (OVERLAY / "systemd/system" / unit).read_text()
    access = yaml.safe_load((OVERLAY / "cluster-os/k3s/jupyterhub.kubeconfig").read_text())
    (user,) = access["users"]
    assert user["user"]["tokenFile"] == "/run/credentials/jupyterhub.service/kubernetes"
    (cluster,) = access["clusters"]
    assert cluster["cluster"]["server"] == f"https://{endpoint.SERVER}:{endpoint.PORT}"


def test_who_tells_may_do_little(tools: ToolsTree) -> None:
    unit = OVERLAY / "systemd/system/clusteros-jupyterhub-endpoint.service"
    assert measure_exposure(tools, unit) <= HIGHEST_EXPOSURE
