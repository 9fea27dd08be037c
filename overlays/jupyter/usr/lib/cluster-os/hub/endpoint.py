# SPDX-License-Identifier: Apache-2.0
"""Tell Kubernetes at which member the hub is, so that its Service `jupyterhub` leads there.

Pods have IPv4 alone and know no names of the mesh, so the role's own address is none for them. The objects:
https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors.
"""

import http.client
import json
import ssl
import sys
from typing import Any

from agent.errors import ClusterError
from hub.settings import HUB_PORT, read_secret, read_settings

SERVER, PORT = "k3s-server", 6443
NAMESPACE = "jupyterhub"
PATH = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/jupyterhub"
TIME_LIMIT = 20.0
"""Seconds for the answer."""


def main() -> int:
    """Tell it once; the unit comes back after a failure. Returns 1 after a line that says what failed."""
    try:
        tell(describe(read_settings().ipv4), read_secret("kubernetes").decode("ascii"))
    except ClusterError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    return 0


def describe(address: str) -> dict[str, Any]:
    """Return the EndpointSlice that leads to the hub at an IPv4 address on the mesh."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "jupyterhub",
            "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": "jupyterhub",
                "endpointslice.kubernetes.io/managed-by": "cluster-os",
            },
        },
        "addressType": "IPv4",
        "ports": [{"name": "hub", "port": HUB_PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }


def tell(endpoint: dict[str, Any], token: str, *, server: str = SERVER, port: int = PORT) -> None:
    """Apply it, whoever said so before. ClusterError when Kubernetes does not answer, or says no."""
    # Who the server is, is the mesh's word (jupyterhub.kubeconfig).
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(server, port, timeout=TIME_LIMIT, context=context)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/apply-patch+yaml"}
    try:
        path = f"{PATH}?fieldManager=cluster-os&force=true"
        connection.request("PATCH", path, json.dumps(endpoint), headers)
        answer = connection.getresponse()
        said = answer.read(4096).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(f"Kubernetes does not answer: {error}") from None
    finally:
        connection.close()
    if answer.status not in (http.client.OK, http.client.CREATED):
        raise ClusterError(f"Kubernetes does not take where the hub is ({answer.status}): {said[:300]!r}")
