# SPDX-License-Identifier: Apache-2.0
"""Manifest, SBOM and keys: contradictions are named even where a valid signature covers them."""

import json
from dataclasses import replace
from pathlib import Path

from image import minisign
from image.keys import make_keys
from image.verification.contents import (
    check_assets,
    check_packages,
    check_python_packages,
    check_release,
)
from image.verification.findings import Finding
from image.verification.record import check_keys, check_sbom
from tests.verification.tiny_image import TinyImage


def keys_found(image: TinyImage, scratch: Path) -> list[str]:
    """Check the keys of an image; return what is wrong."""
    key = minisign.parse_public_key(image.keys.release_public_key.read_text(), "release.pub")
    return [finding.file for finding in check_keys(image.artefacts(scratch), key)]


def test_foreign_keys_beside_the_image_are_named(image: TinyImage, tmp_path: Path) -> None:
    assert keys_found(image, tmp_path / "scratch") == []
    other = make_keys(tmp_path / "other", development=True)
    for file in (other.secure_boot_certificate, other.pcr_public_key, other.release_public_key):
        (image.directory / file.name).write_bytes(file.read_bytes())
    assert keys_found(image, tmp_path / "scratch") == ["release.pub", "secureboot.crt", "pcr.pub"]


def test_a_package_that_the_sbom_lacks_or_has_too_many_is_named(image: TinyImage, tmp_path: Path) -> None:
    sbom = image.path("sbom")
    content = json.loads(sbom.read_text())
    content["components"][0]["purl"] = "pkg:deb/debian/other@1"
    sbom.write_text(json.dumps(content))
    found = list(check_sbom(image.artefacts(tmp_path / "scratch")))
    assert len(found) == 2
    assert found[1] == Finding(
        f"{sbom.name}, pkg:deb/debian/other@1",
        "nothing as in manifest.json",
        content["components"][0]["hashes"][0]["content"],
    )


def test_an_sbom_that_is_none_is_a_finding(image: TinyImage, tmp_path: Path) -> None:
    for text in (
        "",
        "[]",
        "{}",
        '{"components": 1}',
        '{"components": [{"purl": [], "hashes": {}}]}',
        "[" * 100_000,
    ):
        image.path("sbom").write_text(text)
        found = list(check_sbom(image.artefacts(tmp_path / "scratch")))
        assert found == [Finding("sbom.cdx.json", "a CycloneDX SBOM", "something else")]


def test_a_package_inside_the_root_that_is_not_recorded_is_named(intact: TinyImage, tmp_path: Path) -> None:
    assert list(check_packages(intact.artefacts(tmp_path / "scratch"))) == []
    first, second = intact.manifest.packages
    other = replace(first, version="1:2.1-1"), replace(second, name="other")
    changed = replace(intact, manifest=replace(intact.manifest, packages=other))
    root = intact.path("root").name
    assert list(check_packages(changed.artefacts(tmp_path / "scratch"))) == [
        Finding(f"{root}, package example:amd64", "1:2.1-1", "1:2.0-1"),
        Finding(f"{root}, package libexample++1:all", "none", "1.9-1"),
        Finding(f"{root}, package other:all", "1.9-1", "none"),
    ]


def test_a_python_package_inside_the_root_that_is_not_recorded_is_named(
    intact: TinyImage, tmp_path: Path
) -> None:
    assert list(check_python_packages(intact.artefacts(tmp_path / "scratch"))) == []
    changed = replace(intact, manifest=replace(intact.manifest, python_packages=()))
    found = list(check_python_packages(changed.artefacts(tmp_path / "scratch")))
    assert found == [Finding(f"{intact.path('root').name}, Python package py-example", "none", "0.3")]


def test_another_version_inside_the_root_is_named(intact: TinyImage, tmp_path: Path) -> None:
    assert list(check_release(intact.artefacts(tmp_path / "scratch"))) == []
    changed = replace(intact, manifest=replace(intact.manifest, version="0.2.0-dev"))
    found = list(check_release(changed.artefacts(tmp_path / "scratch")))
    place = f"{intact.path('root').name}, /usr/lib/os-release, IMAGE_VERSION"
    assert found == [Finding(place, "0.2.0-dev", "0.1.0-dev")]


def test_a_root_without_a_record_of_packages_has_none(image: TinyImage, tmp_path: Path) -> None:
    image.path("root").write_bytes(bytes(1 << 20))
    found = list(check_packages(image.artefacts(tmp_path / "scratch")))
    assert [finding.found for finding in found] == ["none", "none"]


def test_an_asset_inside_the_root_that_is_another_one_is_named(intact: TinyImage, tmp_path: Path) -> None:
    assert list(check_assets(intact.artefacts(tmp_path / "scratch"))) == []
    (asset,) = intact.manifest.assets
    other, missing = replace(asset, sha256="f" * 64), replace(asset, name="second", path="/usr/lib/none")
    changed = replace(intact, manifest=replace(intact.manifest, assets=(other, missing)))
    root = intact.path("root").name
    assert list(check_assets(changed.artefacts(tmp_path / "scratch"))) == [
        Finding(f"{root}, asset example, {asset.path}", "f" * 64, asset.sha256),
        Finding(f"{root}, asset second, /usr/lib/none", asset.sha256, "nothing"),
    ]
