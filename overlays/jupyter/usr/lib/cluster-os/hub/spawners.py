# SPDX-License-Identifier: Apache-2.0
"""What a user may choose from when a notebook is started, as the profiles of ProfilesSpawner. Pure."""

from typing import Any, NamedTuple

SLURM, KUBE = "batchspawner.SlurmSpawner", "kubespawner.KubeSpawner"


class Profile(NamedTuple):
    """As wrapspawner has it: what is shown, a key, the class of the spawner, and its configuration."""

    shown: str
    key: str
    spawner: str
    configuration: dict[str, Any]


def list_profiles(*, slurm: bool, kube: bool) -> list[Profile]:
    """Return the profiles for what the cluster can run notebooks with; the first one is the default."""
    found = []
    if slurm:
        found += [
            _job("1 core, 512 MiB, 8 hours", "job-small", "1", "512M"),
            _job("2 cores, 4 GiB, 8 hours", "job-medium", "2", "4G"),
            _job("8 cores, 16 GiB, 8 hours", "job-large", "8", "16G"),
            _job("4 cores, 16 GiB, 1 GPU, 8 hours", "job-gpu", "4", "16G", gres="gpu:1"),
        ]
    if kube:
        found += [
            _pod("pod: 1 core, 1 GiB", "pod-small", 1, "1G"),
            _pod("pod: 4 cores, 8 GiB", "pod-medium", 4, "8G"),
        ]
    return found


def _job(shown: str, key: str, cores: str, memory: str, *, gres: str = "") -> Profile:
    what = {"req_nprocs": cores, "req_memory": memory, "req_runtime": "8:00:00", "req_gres": gres}
    return Profile(shown, key, SLURM, what)


POD: dict[str, Any] = {
    # The wrapper of a job's spawner has others of these three, which a pod must not get.
    "ip": "0.0.0.0",  # noqa: S104  a pod's own network
    "port": 8888,
    "environment": {},
    "namespace": "jupyterhub",
    "image": "quay.io/jupyter/base-notebook:hub-5.2.1",
    "uid": 1000,
    "gid": 100,
    "fs_gid": 100,
    # A home that outlives the pod, on the member where the first one ran (k3s's local-path).
    "storage_pvc_ensure": True,
    "storage_capacity": "10Gi",
    "storage_access_modes": ["ReadWriteOnce"],
    "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}],
    "volume_mounts": [{"name": "home", "mountPath": "/home/jovyan"}],
}
"""Of each notebook that is a pod (https://jupyterhub-kubespawner.readthedocs.io), of the hub's version."""


def _pod(shown: str, key: str, cores: int, memory: str) -> Profile:
    # KubeSpawner takes what was chosen for one of its own profiles, and refuses what is none.
    own = [{"display_name": shown, "slug": key}]
    return Profile(shown, key, KUBE, {**POD, "cpu_limit": cores, "mem_limit": memory, "profile_list": own})


JOB_NAME = "jupyterhub-notebook"
"""By which the hub knows them again (forgotten.py)."""
BATCH_SCRIPT = (
    f"#!/bin/sh\n#SBATCH --job-name={JOB_NAME}"
    + """
#SBATCH --output={{homedir}}/.jupyter-%j.log
#SBATCH --chdir={{homedir}}
#SBATCH --export=ALL
#SBATCH --no-requeue
#SBATCH --time={{runtime}}
#SBATCH --mem={{memory}}
#SBATCH --cpus-per-task={{nprocs}}
{% if gres %}#SBATCH --gres={{gres}}
{% endif %}
exec {{cmd}}
"""
)
"""Of a notebook that runs as a job. It is not queued again: the hub would not know the new one."""
