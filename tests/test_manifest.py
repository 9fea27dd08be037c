# SPDX-License-Identifier: Apache-2.0
"""manifest.json: the same text for the same build, and nothing doubtful is read from one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from image.manifest import (
    FORMAT,
    Artefact,
    AssetRecord,
    KeyFingerprints,
    Manifest,
    Package,
    PartitionRecord,
    PythonPackage,
    Tools,
    encode_manifest,
    parse_manifest,
    read_manifest,
)
from image.schema import SchemaError

PACKAGES = (
    Package(
        "libc6",
        "2.41-12",
        "amd64",
        "glibc",
        "2.41-12",
        "pool/main/g/glibc/libc6_2.41-12_amd64.deb",
        5,
        "a" * 64,
    ),
    Package(
        "tzdata",
        "2026a-0",
        "all",
        "tzdata",
        "2026a-0",
        "pool/main/t/tzdata/tzdata_2026a-0_all.deb",
        6,
        "b" * 64,
    ),
)
MANIFEST = Manifest(
    format=FORMAT,
    image_id="cluster-os",
    version="0.1.0-dev",
    profile="vm",
    architecture="x86-64",
    development=True,
    commit="c" * 40,
    dirty=False,
    source_date_epoch=1_700_000_000,
    archive_epoch=1_700_000_001,
    configuration="d" * 64,
    root_hash="e" * 64,
    packages=PACKAGES,
    initrd_packages=PACKAGES[:1],
    python_packages=(PythonPackage("pysyncobj", "0.3.17", "pysyncobj-0.3.17.tar.gz", "f" * 64),),
    assets=(
        AssetRecord(
            "tool",
            "v1.2+x",
            "https://example.org/v1.2%2Bx/tool",
            "9" * 64,
            7,
            "Apache-2.0",
            "/usr/lib/tool",
            executable=True,
        ),
    ),
    partitions=(
        PartitionRecord("esp", "esp", "11111111-1111-1111-1111-111111111111", 1 << 20, 512, "1" * 64, ""),
        PartitionRecord(
            "root", "root-x86-64", "22222222-2222-2222-2222-222222222222", 2 << 20, 9, "2" * 64, "r.raw"
        ),
    ),
    artefacts=(Artefact("i.raw", "disk", 100, "3" * 64), Artefact("r.raw", "root", 9, "2" * 64)),
    keys=KeyFingerprints("0123456789ABCDEF", "4" * 64, "5" * 64),
    tools=Tools("25.3", "257.9-1~deb13u1", "1.8.6-1"),
)


def change(**fields: object) -> str:
    """The text of the manifest with other values; `...` takes a key away."""
    content = json.loads(encode_manifest(MANIFEST)) | fields
    return json.dumps({name: value for name, value in content.items() if value is not ...})


def problems(text: str) -> list[str]:
    """What is wrong with the text of a manifest."""
    with pytest.raises(SchemaError) as caught:
        parse_manifest(text)
    return caught.value.problems


def test_a_manifest_comes_back_as_it_was_written() -> None:
    assert parse_manifest(encode_manifest(MANIFEST)) == MANIFEST


def test_the_order_in_which_things_were_found_plays_no_part() -> None:
    other = replace(
        MANIFEST,
        packages=MANIFEST.packages[::-1],
        partitions=MANIFEST.partitions[::-1],
        artefacts=MANIFEST.artefacts[::-1],
    )
    assert encode_manifest(other) == encode_manifest(MANIFEST)
    assert encode_manifest(MANIFEST).endswith("}\n")


def test_all_errors_are_told_at_once_each_with_its_place() -> None:
    package = {**json.loads(encode_manifest(MANIFEST))["packages"][0], "sha256": "A" * 64, "size": "5"}
    text = change(version=1, root_hash=..., extra=True, packages=[package], dirty=0, tools=[])
    assert sorted(problems(text)) == [
        "dirty: expected true or false, found 0",
        "extra: unknown",
        f'packages[0].sha256: expected 64 lower-case hexadecimal digits, found "{"A" * 56}...',
        'packages[0].size: expected a whole number, found "5"',
        "root_hash: missing",
        "tools: expected an object, found []",
        "version: expected a string, found 1",
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"format": 2}, "format: expected 1, found 2"),
        ({"format": True}, "format: expected a whole number, found true"),
        ({"source_date_epoch": -1}, "source_date_epoch: expected a number that is not negative, found -1"),
        ({"source_date_epoch": 1.5}, "source_date_epoch: expected a whole number, found 1.5"),
        ({"version": "0.1.0"}, "version: a development build must say dev in it, found 0.1.0"),
        ({"version": "../../dev"}, "version: expected a word"),
        ({"commit": "HEAD"}, "commit: expected a git commit"),
        ({"packages": {}}, "packages: expected a list, found {}"),
        ({"keys": None}, "keys: expected an object, found null"),
        (
            {"artefacts": [vars(MANIFEST.artefacts[1]) | {"name": "../r.raw"}]},
            "artefacts[0].name: expected a file name",
        ),
        (
            {"artefacts": [vars(MANIFEST.artefacts[1]) | {"role": "other"}]},
            "artefacts[0].role: expected one of disk,",
        ),
        ({"artefacts": [vars(MANIFEST.artefacts[1])] * 2}, "artefacts: r.raw comes twice"),
        ({"artefacts": []}, "partitions: root and artefact r.raw do not agree"),
        (
            {"artefacts": [vars(MANIFEST.artefacts[1]) | {"sha256": "0" * 64}]},
            "partitions: root and artefact r.raw do not agree",
        ),
        ({"packages": [vars(PACKAGES[0])] * 2}, "packages: ('libc6', 'amd64') comes twice"),
    ],
)
def test_a_wrong_value_is_named(fields: dict[str, object], problem: str) -> None:
    assert problems(change(**fields))[0].startswith(problem)


@pytest.mark.parametrize(
    "path", ["pool/../../x.deb", "/pool/x.deb", "pool/x.udeb\n.deb", "dists/x.deb", "pool/a/../x.deb"]
)
def test_a_package_path_stays_in_the_archive(path: str) -> None:
    text = change(packages=[vars(PACKAGES[0]) | {"filename": path}])
    assert problems(text)[0].startswith("packages[0].filename: expected a path of the archive")


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", '"a"', "NaN", "[" * 100_000, '{"format": 1, "format": 2}']
)
def test_what_is_no_manifest_is_refused(text: str) -> None:
    assert problems(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    ),
    st.sampled_from(sorted(vars(MANIFEST))),
)
def test_no_value_of_the_wrong_kind_gets_through_or_breaks_the_reader(value: object, field: str) -> None:
    try:
        found = parse_manifest(change(**{field: value}))
    except SchemaError as error:
        assert error.problems
        return
    assert json.loads(encode_manifest(found))[field] == value


def test_a_file_that_is_no_manifest_is_one_line_with_a_hint(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    with pytest.raises(ClusterError, match="cannot read"):
        read_manifest(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ClusterError, match="not a text file"):
        read_manifest(file)
    file.write_text("{}")
    with pytest.raises(ClusterError, match=r"format: missing; .* and \d+ more") as caught:
        read_manifest(file)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    file.write_text(encode_manifest(MANIFEST))
    assert read_manifest(file) == MANIFEST


def test_a_mirror_never_gets_into_a_manifest() -> None:
    assert "://" not in encode_manifest(replace(MANIFEST, assets=()))
