# SPDX-License-Identifier: Apache-2.0
"""The configuration of JupyterHub and its proxy, and what roles and units say about them."""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import jinja2
import pytest

from agent.errors import ClusterError
from agent.roles.role_file import read_role
from hub import notebook, proxy
from hub.configuration import UNKNOWN, configure
from hub.forgotten import read_jobs
from hub.settings import Settings, read_secret, read_settings
from hub.spawners import BATCH_SCRIPT, KUBE, SLURM, list_profiles

OVERLAY = Path(__file__).parents[1] / "overlays/jupyter/usr/lib"
SETTINGS = Settings("lab", 7, "fd12::99", "10.86.0.7", ("10.86.0.0/16", "fd12::/64"))
SECRETS = {"proxy": b"p" * 32, "cookies": b"c" * 32}


class Section(dict[str, Any]):
    """A part of traitlets' configuration object: attributes that are there when they are set."""

    def __setattr__(self, name: str, value: object) -> None:
        self[name] = value


class Configuration(defaultdict[str, Section]):
    def __init__(self) -> None:
        super().__init__(Section)

    def __getattr__(self, name: str) -> Section:
        return self[name]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return configure_with_secrets(tmp_path, monkeypatch)


def configure_with_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    for name, secret in SECRETS.items():
        (tmp_path / name).write_bytes(secret)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = Configuration()
    configure(found, SETTINGS)
    return found


def test_the_hub_is_where_the_role_is_and_nowhere_else(configured: Configuration) -> None:
    hub = configured["JupyterHub"]
    assert hub["hub_bind_url"] == "http://[fd12::99]:8081"
    assert hub["hub_connect_url"] == "http://jupyterhub:8081"
    assert hub["db_url"] == "sqlite:////var/lib/clusteros-jupyterhub/epoch-7.sqlite"


def test_hub_and_proxy_share_a_token_which_is_in_no_command_line(configured: Configuration) -> None:
    token = configured["ConfigurableHTTPProxy"]["auth_token"]
    assert token == SECRETS["proxy"].hex()
    assert not configured["ConfigurableHTTPProxy"]["should_start"]
    assert token not in " ".join(proxy.compose(SETTINGS))


def test_notebooks_outlive_the_hub(configured: Configuration) -> None:
    assert configured["JupyterHub"]["cleanup_servers"] is False
    assert "#SBATCH --no-requeue\n" in BATCH_SCRIPT


def test_nothing_of_the_hubs_own_environment_goes_to_users(configured: Configuration) -> None:
    assert configured["Spawner"]["env_keep"] == ["LANG"]
    assert "#SBATCH --export=ALL\n" in BATCH_SCRIPT  # of what the broker was given for this job


@pytest.mark.parametrize(
    ("said", "unknown"),
    [
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", True),
        ("slurm_load_jobs error: Zero Bytes were transmitted or received", True),
        ("squeue: error: Parsing error at unrecognized key", True),
        ("slurm_load_jobs error: Invalid job id specified", False),
        ("RUNNING n-abcdefghij", False),
        ("", False),
    ],
)
def test_only_slurm_itself_tells_that_a_notebook_ended(said: str, unknown: bool) -> None:
    assert bool(re.search(UNKNOWN, said)) == unknown


def test_a_list_of_jobs_is_read_and_nothing_else() -> None:
    assert read_jobs("12\n13\n") == ["12", "13"]
    assert read_jobs("") == []
    assert read_jobs("14_1\nslurm_load_jobs error: 15\n0\n") == []


def test_without_a_secret_there_is_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "proxy").write_bytes(b"short")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name in ("proxy", "cookies"):
        with pytest.raises(ClusterError, match=f"the credential '{name}'"):
            read_secret(name)


def test_jobs_come_first_and_pods_only_where_there_is_kubernetes() -> None:
    both = list_profiles(slurm=True, kube=True)
    assert both[0].spawner == SLURM
    assert {profile.spawner for profile in both} == {SLURM, KUBE}
    assert {profile.spawner for profile in list_profiles(slurm=True, kube=False)} == {SLURM}
    assert {profile.spawner for profile in list_profiles(slurm=False, kube=True)} == {KUBE}
    assert len({profile.key for profile in both}) == len(both)


def test_without_credentials_of_kubernetes_only_jobs_are_offered(configured: Configuration) -> None:
    spawners = {spawner for _shown, _key, spawner, _traits in configured["ProfilesSpawner"]["profiles"]}
    assert spawners == {SLURM}


def test_with_them_pods_are_offered_too_and_find_the_hub_at_an_address_that_they_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/usr/lib/cluster-os/k3s/jupyterhub.kubeconfig")
    found = configure_with_secrets(tmp_path, monkeypatch)
    spawners = {spawner for _shown, _key, spawner, _traits in found["ProfilesSpawner"]["profiles"]}
    assert spawners == {SLURM, KUBE}
    assert found["JupyterHub"]["hub_bind_url"] == "http://:8081"
    assert found["JupyterHub"]["hub_connect_url"] == "http://jupyterhub:8081"


@pytest.mark.parametrize("profile", list_profiles(slurm=True, kube=False), ids=lambda profile: profile.key)
def test_the_script_of_a_job_asks_for_what_was_chosen(profile: Any) -> None:  # noqa: ANN401
    values = {name.removeprefix("req_"): value for name, value in profile.configuration.items()}
    script = jinja2.Template(BATCH_SCRIPT, undefined=jinja2.StrictUndefined).render(
        **values, homedir="/var/home/alice", keepvars="PATH,JUPYTERHUB_API_TOKEN", cmd="notebook --x"
    )
    lines = script.splitlines()
    assert lines[0] == "#!/bin/sh"
    assert f"#SBATCH --mem={values['memory']}" in lines
    assert f"#SBATCH --cpus-per-task={values['nprocs']}" in lines
    assert ("#SBATCH --gres=gpu:1" in lines) == bool(values["gres"])
    assert lines[-1] == "exec notebook --x"


@pytest.mark.parametrize(
    ("url", "bound"),
    [
        ("http://0.0.0.0:0/user/alice/", "http://10.86.0.7:0/user/alice/"),
        ("http://0.0.0.0:8123/", "http://10.86.0.7:8123/"),
        ("http://10.86.0.9:8123/", "http://10.86.0.9:8123/"),
        ("", ""),
    ],
)
def test_a_notebook_serves_at_the_mesh_address_alone(url: str, bound: str) -> None:
    assert notebook.bind(url, "10.86.0.7") == bound


def test_what_the_role_renders_is_what_its_programs_read(tmp_path: Path) -> None:
    folder = OVERLAY / "cluster-os/roles/jupyterhub"
    template = jinja2.Template((folder / "role.json.j2").read_text(), undefined=jinja2.StrictUndefined)
    holders, me = {"jupyterhub": {"address": SETTINGS.address}}, {"ipv4": SETTINGS.ipv4}
    path = tmp_path / "role.json"
    path.write_text(
        template.render(cluster="lab", epoch=7, holders=holders, me=me, ranges=("10.86.0.0/16", "fd12::/64"))
    )
    assert read_settings(path) == SETTINGS


@pytest.mark.parametrize(
    "changed",
    [{"address": "example.org"}, {"epoch": 0}, {"ranges": "10.0.0.0/8"}, {"more": 1}, {"cluster": "../x"}],
)
def test_settings_of_another_form_are_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    good = {
        **{"cluster": "lab", "epoch": 7, "address": "fd12::99", "ipv4": "10.86.0.7"},
        "ranges": ["10.86.0.0/16"],
    }
    path = tmp_path / "role.json"
    path.write_text(json.dumps({**good, **changed}))
    with pytest.raises(ClusterError, match="role"):
        read_settings(path)


def test_settings_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="cannot read"):
        read_settings(tmp_path / "none")


def test_each_unit_gets_the_secrets_it_needs_and_no_other() -> None:
    role = read_role(OVERLAY / "cluster-os/roles/jupyterhub")
    assert {secret.name for secret in role.secrets} == {
        f"jupyterhub/{name}" for name in ("tls", "proxy", "cookies", "state", "kubernetes")
    }
    units = OVERLAY / "systemd/system"
    wanted = {
        "clusteros-jupyterhub-proxy.service": {"proxy", "tls"},
        "jupyterhub.service.d/10-cluster-os.conf": {"proxy", "cookies"},
        "clusteros-jupyterhub-snapshots.service": set(),
        "clusteros-jupyterhub-broker@.service": set(),
    }
    for unit, names in wanted.items():
        lines = [
            line for line in (units / unit).read_text().splitlines() if line.startswith("LoadCredential=")
        ]
        assert {line.rpartition("jupyterhub.")[2] for line in lines} == names


def test_the_state_that_is_followed_is_what_the_copies_are_kept_of() -> None:
    roles = OVERLAY / "cluster-os/roles"
    copies = (roles / "jupyterhub-copies/copies.json.j2").read_text()
    assert '"state": "/var/lib/clusteros-jupyterhub-snapshots"' in copies
    names = {secret.name for secret in read_role(roles / "jupyterhub-copies").secrets}
    assert names == {"jupyterhub/state"}
