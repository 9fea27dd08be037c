# SPDX-License-Identifier: Apache-2.0
"""The configuration of JupyterHub: called by jupyterhub_config.py beside it."""

import os
from importlib.util import find_spec
from typing import Any

from hub.forgotten import end_forgotten
from hub.request import USER
from hub.settings import FOLDER, HUB_PORT, PROXY_API_PORT, PUBLIC_PORT, Settings, find_kubeconfig, read_secret
from hub.snapshots import name_live
from hub.spawners import BATCH_SCRIPT, list_profiles

LIBRARY = "/usr/lib/cluster-os"
UNKNOWN = r"error: (?!Invalid job id)"
PACKAGES = f"{LIBRARY}/site-packages"


def configure(c: Any, settings: Settings) -> None:  # noqa: ANN401  traitlets' configuration object
    """Set what is ours."""
    hub = c.JupyterHub
    # The hub listens at the role's address alone: it moves with the role, and notebooks find it there again.
    hub.hub_bind_url = settings.hub_url
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
    _configure_spawners(c)


def _configure_spawners(c: Any) -> None:  # noqa: ANN401
    kubeconfig = find_kubeconfig() if find_spec("kubespawner") else None
    if kubeconfig is not None:
        # Where the client of Kubernetes looks that kubespawner has.
        os.environ["KUBECONFIG"] = str(kubeconfig)
    profiles = list_profiles(slurm=True, kube=kubeconfig is not None)
    c.JupyterHub.spawner_class = "wrapspawner.ProfilesSpawner"
    c.ProfilesSpawner.profiles = [tuple(profile) for profile in profiles]
    # Both wrapper and wrapped have these; a wrapper's win, whether they were set or not.
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
