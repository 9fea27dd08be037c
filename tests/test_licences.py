# SPDX-License-Identifier: Apache-2.0
"""Licences in the SBOM are those that maintainers declare, by SPDX identifier where it has one."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from image.licences import collect_licences, is_spdx, read_licences, read_python_licences
from image.sbom import encode_sbom
from image.toolstree import ToolsTree
from tests.test_manifest import MANIFEST, PACKAGES

HEAD = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n"


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("GPL-3.0+", "GPL-3.0-or-later"),
        ("Expat", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("Apache-2.0", "Apache-2.0"),
    ],
)
def test_debians_names_become_those_of_spdx(declared: str, expected: str) -> None:
    assert read_licences(f"{HEAD}License: {declared}\n") == {expected}
    assert is_spdx(expected)


@pytest.mark.parametrize(
    "declared", ["GPL-1+ or Artistic", "GPL-2 with Linux-syscall-note exception", "BSLA"]
)
def test_other_names_stay_as_they_are(declared: str) -> None:
    assert read_licences(f"{HEAD}License: {declared}\n") == {declared}
    assert not is_spdx(declared)


@pytest.mark.parametrize(
    "text",
    [
        "This is free software under the GPL.\nLicense: GPL-2\n",
        f"{HEAD}License: Permission is hereby granted, free of charge, to any person\n",
        f"{HEAD}License:\n Long words\n",
        "",
    ],
)
def test_prose_is_no_name(text: str) -> None:
    assert read_licences(text) == frozenset()


def test_they_are_read_from_the_root_for_all_packages_of_a_source(tools: ToolsTree, tmp_path: Path) -> None:
    folder = tmp_path / "root/usr/share/doc/libc6"
    folder.mkdir(parents=True)
    (folder / "copyright").write_text(f"{HEAD}License: LGPL-2.1+\n\nFiles: b\nLicense: Expat\n")
    image = tmp_path / "root.raw"
    subprocess.run(
        tools.command(["mkfs.erofs", image, tmp_path / "root"]), check=True, stdout=subprocess.DEVNULL
    )
    shutil.rmtree(tmp_path / "root")
    silent = replace(PACKAGES[0], name="libc-bin")
    found = collect_licences([*PACKAGES, silent], image, tools)
    assert found[PACKAGES[0].source] == {"LGPL-2.1-or-later", "MIT"}
    assert set(found) == {package.source for package in PACKAGES}


def test_a_validator_accepts_them_and_each_package_has_its_own() -> None:
    licences = {PACKAGES[0].source: ["MIT", "GPL-1+ or Artistic"], "pysyncobj": ["MIT"]}
    text = encode_sbom(MANIFEST, licences)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = {each["name"]: each.get("licenses") for each in json.loads(text)["components"]}
    assert components[PACKAGES[0].name] == [
        {"license": {"name": "GPL-1+ or Artistic", "acknowledgement": "declared"}},
        {"license": {"id": "MIT", "acknowledgement": "declared"}},
    ]
    assert components["pysyncobj"] is not None
    assert components[PACKAGES[1].name] is None


def test_python_packages_tell_theirs(tmp_path: Path) -> None:
    for name, field in (("a", "License: MIT"), ("b", "License-Expression: Apache-2.0"), ("c", "Summary: c")):
        (tmp_path / f"{name}-1.dist-info").mkdir()
        (tmp_path / f"{name}-1.dist-info/METADATA").write_text(f"Name: {name}\n{field}\n")
    assert read_python_licences(tmp_path) == {"a": {"MIT"}, "b": {"Apache-2.0"}}
