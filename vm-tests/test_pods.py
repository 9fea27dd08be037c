# SPDX-License-Identifier: Apache-2.0
"""Profile hpc-kube with a recorder in the place of k3s: the hub asks Kubernetes for a pod that is a notebook.

The hub, its spawners and its client of Kubernetes are the real ones; no pod runs (docs/jupyterhub.md).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import open_lab
from harness.cluster import wait_formed, wait_settled
from harness.disks import find_image
from harness.machine import Machine
from harness.model import JOIN_CREDENTIAL, Boot, NodeSpec
from harness.waiting import wait_for
from hpc.conftest import ALICE
from image.toolstree import ToolsTree
from test_kube import SERVER_MEMORY, find
from tests.cluster.bundle import encode, make_credential

PROJECT = Path(__file__).parents[1]
pytestmark = pytest.mark.full
RUN_LIMIT = 600.0
"""Seconds from a formed cluster to all roles of it on one machine, and for what they do then."""
_SPAWN = """
import http.cookiejar, ssl, sys, urllib.parse, urllib.request
jar = http.cookiejar.CookieJar()
context = ssl.create_default_context(cafile="/run/clusteros-jupyterhub-proxy/ca.crt")
opener = urllib.request.build_opener(
    urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(jar))

def ask(path, **form):
    token = next((cookie.value for cookie in jar if cookie.name == "_xsrf"), "")
    data = urllib.parse.urlencode({**form, "_xsrf": token}).encode() if form else None
    return opener.open("https://jupyterhub:8443/hub/" + path, data, timeout=60).read().decode()

ask("login")
ask("login", username="alice", password="correct horse")
print(ask("spawn"))
ask("spawn", profile=sys.argv[1])
"""
"""What a browser does that logs in and chooses."""


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, tools: ToolsTree) -> Iterator[Machine]:
    """A cluster of one, which has all roles."""
    image = find_image(PROJECT / "out/hpc-kube-recorder")
    credential = encode(make_credential(1), users=(ALICE,))
    with open_lab(request.config, "test-pods", tools, image) as lab:
        found = lab.start(
            NodeSpec("node1", memory=SERVER_MEMORY, cpus=2), Boot({JOIN_CREDENTIAL: credential})
        )
        found.wait_ready()
        wait_formed([found])
        wait_settled([found], RUN_LIMIT)
        yield found


def find_object(machine: Machine, method: str, kind: str) -> dict[str, Any] | None:
    """Return what the hub gave the recorder."""
    entries = (each["object"] for each in find(machine, method) if each["user"] == "cluster-os:jupyterhub")
    return next((each for each in entries if each.get("kind") == kind), None)


def test_the_recorder_is_told_where_the_hub_is_and_the_hub_is_there(machine: Machine) -> None:
    def told() -> dict[str, Any] | None:
        return find_object(machine, "PATCH", "EndpointSlice")

    slice_ = wait_for("the hub's place", told, RUN_LIMIT)
    address = json.loads(machine.run("node-agent", "status", "--json"))["mesh"]["ipv4"]
    assert slice_["endpoints"][0]["addresses"] == [address]
    (port,) = slice_["ports"]
    look = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
    said = json.loads(machine.run("python3", "-c", look, f"http://{address}:{port['port']}/hub/api/"))
    assert said["version"].startswith("5.")


def test_a_user_who_chooses_a_pod_has_the_hub_ask_the_recorder_for_it(machine: Machine) -> None:
    form = machine.run("python3", "-c", _SPAWN, "pod-small")
    assert form.index("job-small") < form.index("pod-small"), "jobs are the default"

    def pod() -> dict[str, Any] | None:
        return find_object(machine, "POST", "Pod")

    asked = wait_for("a pod to be asked for", pod, RUN_LIMIT)
    claim = find_object(machine, "POST", "PersistentVolumeClaim")
    assert claim is not None
    (volume,) = asked["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"] == "claim-alice"
    (container,) = asked["spec"]["containers"]
    assert container["image"].endswith(":hub-" + machine.run("jupyterhub", "--version").strip())
    assert container["resources"]["limits"] == {"cpu": 1.0, "memory": 1 << 30}
    environment = {each["name"]: each["value"] for each in container["env"]}
    # The name of the Service that the endpoint belongs to, in the namespace that both are in.
    assert environment["JUPYTERHUB_API_URL"] == "http://jupyterhub:8081/hub/api"
    assert environment["JUPYTERHUB_SERVICE_URL"] == "http://0.0.0.0:8888/user/alice/"
    assert not {"PATH", "JUPYTERLAB_DIR"} & environment.keys(), "what jobs need is none of a pod's"


def test_the_recorder_denied_the_hub_nothing_that_it_asked_for(machine: Machine) -> None:
    assert find(machine, "denied") == []
