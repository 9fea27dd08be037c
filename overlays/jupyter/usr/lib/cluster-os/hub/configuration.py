# SPDX-License-Identifier: Apache-2.0
"""The configuration of JupyterHub: called by jupyterhub_config.py beside it."""

import os
from typing import Any

from hub.forgotten import end_forgotten
from hub.request import USER
from hub.settings import FOLDER, HUB_PORT, PROXY_API_PORT, PUBLIC_PORT, Settings, read_secret
from hub.snapshots import name_live
from hub.spawners import BATCH_SCRIPT, list_profiles

LIBRARY = "/usr/lib/cluster-os"
UNKNOWN = r"error: (?!Invalid job id)"
PACKAGES = f"{LIBRARY}/site-packages"


def configure(c: Any, settings: Settings) -> None:  # noqa: ANN401  traitlets' configuration object
    """Set what is ours."""
    hub = c.JupyterHub
    # The client of Kubernetes that KubeSpawner has looks there (20-kubernetes.conf).
    kube = "KUBECONFIG" in os.environ
    # The hub listens at the role's address alone: it moves with the role, and notebooks find it there again.
    # Pods come to this member's IPv4 address; the firewall keeps the underlay away from all.
    hub.hub_bind_url = f"http://:{HUB_PORT}" if kube else settings.hub_url
    hub.hub_connect_url = f"http://jupyterhub:{HUB_PORT}"
    hub.bind_url = f"https://jupyterhub:{PUBLIC_PORT}"
    hub.db_url = f"sqlite:///{name_live(FOLDER, settings.epoch)}"
    hub.cookie_secret = read_secret("cookies")
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{PROXY_API_PORT}"
    c.ConfigurableHTTPProxy.auth_token = read_secret("proxy").hex()

    # A hub that stops leaves notebooks alone: it is started again here or elsewhere.
    hub.cleanup_servers = False
    hub.shutdown_on_logout = False

    hub.authenticator_class = "hub.authenticator.ClusterAuthenticator"
    c.Authenticator.allow_all = True
    c.Authenticator.username_pattern = f"^{USER}$"
    _configure_spawners(c, kube=kube)


def _configure_spawners(c: Any, *, kube: bool) -> None:  # noqa: ANN401
    profiles = list_profiles(slurm=True, kube=kube)
    c.JupyterHub.spawner_class = "wrapspawner.ProfilesSpawner"
    c.ProfilesSpawner.profiles = [tuple(profile) for profile in profiles]
    # Both wrapper and wrapped have these; a wrapper's win, set or not, but for what a profile has.
    spawner = c.Spawner
    spawner.cmd = ["jupyterhub-singleuser"]
    spawner.start_timeout = 300
    # Also how long a notebook that was there may take to answer a hub that is new.
    spawner.http_timeout = 120
    spawner.env_keep = ["LANG"]
    spawner.default_url = "/lab"
    spawner.environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        # JupyterLab is not where Debian's Jupyter looks (docs/jupyterhub.md says why it is not Debian's).
        "JUPYTERLAB_DIR": f"{PACKAGES}/share/jupyter/lab",
        "JUPYTER_CONFIG_PATH": f"{PACKAGES}/etc/jupyter",
    }
    c.SlurmSpawner.exec_prefix = f"{LIBRARY}/clusteros-as-user {{username}}"
    c.SlurmSpawner.batchspawner_singleuser_cmd = f"{LIBRARY}/clusteros-notebook"
    c.SlurmSpawner.batch_script = BATCH_SCRIPT
    # Whatever else squeue says, a controller that moves, say, is no word of the job's end.
    c.SlurmSpawner.state_unknown_re = UNKNOWN
    # Called for the wrapper alone.
    c.ProfilesSpawner.pre_spawn_hook = end_forgotten
