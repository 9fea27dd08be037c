# SPDX-License-Identifier: Apache-2.0
"""What pip installs is pinned by version and hash, and comes from wherever the machine's own pip takes it."""

import re
from pathlib import Path

import pytest

from image.artefacts import read_requirements
from image.requirements import choose_requirements, list_requirements

FOLDER = Path(__file__).parent.parent / "image/python"
PIN = re.compile(
    r"([a-z0-9][a-z0-9.-]*)==[^\s;]+( ; [^\\]+)? (\\\n    --hash=sha256:[0-9a-f]{64} ?)+(\n    # .*)*"
)


@pytest.mark.parametrize("name", ["browser", "builder", "hpc", "node"])
def test_requirements_are_pins_with_hashes_and_nothing_else(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text()
    rest = PIN.sub("", text).split("\n")
    assert [line for line in rest if line and not line.startswith("#")] == []


@pytest.mark.parametrize("name", ["browser", "builder", "hpc", "node"])
def test_everything_that_is_asked_for_is_pinned(name: str) -> None:
    asked = re.findall(
        r"^([a-z0-9.-]+)(?:\[.*\])?==(\S+)$", (FOLDER / f"{name}.in").read_text(), re.MULTILINE
    )
    pinned = re.findall(
        r"^([a-z0-9.-]+)(?:\[.*\])?==(\S+)", (FOLDER / f"{name}.txt").read_text(), re.MULTILINE
    )
    assert asked
    assert {(asked_name.replace(".", "-"), version) for asked_name, version in asked} <= {
        (pinned_name.replace(".", "-"), version) for pinned_name, version in pinned
    }


def test_an_image_has_what_all_have_and_what_its_profile_adds() -> None:
    project = FOLDER.parents[1]
    assert list(choose_requirements(project, "vm")) == ["node"]
    assert list(choose_requirements(project, "hpc")) == ["hpc", "node"]
    assert list(choose_requirements(project, "hpc-node")) == ["hpc", "node"]
    for profile in ("hpc-kube", "hpc-kube-node"):
        assert list(choose_requirements(project, profile)) == ["hpc-kube", "hpc", "node"]
    assert list(choose_requirements(project, "kube-node")) == ["node"]
    # What only the builder and the tests use is in none.
    assert set(list_requirements(project)) == {"hpc", "hpc-kube", "node"}


def test_packages_are_recorded_by_the_file_that_pip_fetched() -> None:
    node = read_requirements((FOLDER / "node.txt").read_text(), wheels=False)
    assert [package.filename for package in node] == ["pysyncobj-0.3.17.tar.gz"]
    hpc = {
        package.name: package for package in read_requirements((FOLDER / "hpc.txt").read_text(), wheels=True)
    }
    assert hpc["jupyterlab-server"].filename == "jupyterlab_server-2.28.1-py3-none-any.whl"
    assert len(hpc) == 5
