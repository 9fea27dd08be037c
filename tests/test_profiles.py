# SPDX-License-Identifier: Apache-2.0
"""Profiles, versions, limits: what a build may be asked for."""

from pathlib import Path

import pytest

from agent.errors import ClusterError
from image.mirror import COMPONENTS
from image.mkosi import name_phase
from image.preflight import GIB, check_machine, check_resources, read_memory
from image.profiles import check_profile, list_profiles
from image.source import choose_version, read_source

PROJECT = Path(__file__).parent.parent


def test_each_profile_has_a_description() -> None:
    profiles = list_profiles(PROJECT)
    of_machines = {"vm", "hpc", "kube", "hpc-kube"}
    assert of_machines | {"node", "hpc-node", "kube-node", "hpc-kube-node"} == set(profiles)
    assert all(profiles.values())


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ClusterError, match="there is no profile 'vn'") as caught:
        check_profile(PROJECT, "vn")
    assert "vm" in caught.value.hint


def test_mirror_and_mkosi_configuration_name_the_same_components() -> None:
    assert f"Repositories={COMPONENTS.removeprefix('main ')}\n" in (PROJECT / "mkosi.conf").read_text()


@pytest.mark.parametrize("version", ["", "1 2", "../1", "-1", "1/2", "A", "x" * 65, "1\n"])
def test_what_cannot_be_a_version_is_refused(version: str) -> None:
    with pytest.raises(ClusterError, match="cannot be a version"):
        choose_version(PROJECT, version, development=False)


def test_development_builds_say_so_in_their_version() -> None:
    assert choose_version(PROJECT, "1.0", development=True) == "1.0-dev"
    assert choose_version(PROJECT, "1.0-dev", development=True) == "1.0-dev"
    assert choose_version(PROJECT, "1.0", development=False) == "1.0"


def test_a_folder_without_git_needs_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    with pytest.raises(ClusterError, match="no git history") as caught:
        read_source(tmp_path)
    assert "SOURCE_DATE_EPOCH" in caught.value.hint
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert read_source(tmp_path).epoch == 1_700_000_000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ClusterError, match="is not a number of seconds"):
        read_source(tmp_path)


def test_too_little_memory_is_told_before_the_build() -> None:
    with pytest.raises(ClusterError, match=r"needs 4 GiB of memory, and this machine has 2\.0 GiB"):
        check_resources(2 * GIB, {})
    check_resources(int(3.8 * GIB), {})


def test_too_little_disk_is_told_before_the_build() -> None:
    with pytest.raises(ClusterError, match=r"needs 8 GiB of free disk, and /small has 7\.0 GiB"):
        check_resources(16 * GIB, {Path("/small"): 7 * GIB})


def test_memory_is_read_in_bytes() -> None:
    assert read_memory("MemTotal:        4028864 kB\nMemFree: 1 kB\n") == 4028864 * 1024
    assert read_memory("") == 0


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="cannot write the output folder /proc/out") as caught:
        check_machine(tmp_path, Path("/proc/out"))
    assert "--output" in caught.value.hint


def test_mkosis_steps_become_phases() -> None:
    assert name_phase("‣  Generating disk image") == "make the root file system and its hash tree"
    assert name_phase("Generating disk image") == ""
    assert name_phase("‣ Copying in sandbox trees…") == ""
