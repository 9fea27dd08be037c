# SPDX-License-Identifier: Apache-2.0
"""The SBOM: a stock validator accepts it, and it says what the manifest says, the same way each time."""

import json
from dataclasses import replace

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from image.manifest import PythonPackage
from image.sbom import encode_sbom, name_package
from tests.test_manifest import MANIFEST, PACKAGES


def test_the_stock_validator_accepts_it() -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(encode_sbom(MANIFEST)) is None
    broken = encode_sbom(MANIFEST).replace('"type": "library"', '"type": "thing"')
    assert validator.validate_str(broken) is not None


def test_the_same_image_has_the_same_sbom_and_another_one_another_serial_number() -> None:
    assert encode_sbom(MANIFEST) == encode_sbom(replace(MANIFEST, packages=MANIFEST.packages[::-1]))
    serials = {
        json.loads(encode_sbom(manifest))["serialNumber"]
        for manifest in (
            MANIFEST,
            replace(MANIFEST, version="0.2.0-dev"),
            replace(MANIFEST, packages=PACKAGES[:1]),
        )
    }
    assert len(serials) == 3


def test_it_lists_every_package_once_with_its_digest_and_place() -> None:
    components = {each["name"]: each for each in json.loads(encode_sbom(MANIFEST))["components"]}
    assert list(components) == ["libc6", "tzdata", "tool", "pysyncobj"]
    assert components["libc6"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    places = [each["value"] for each in components["libc6"]["properties"] if each["name"] == "cluster-os:in"]
    assert places == ["root", "initrd"]


def test_the_time_in_it_is_the_source_s_not_the_clock_s() -> None:
    assert json.loads(encode_sbom(MANIFEST))["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_package_urls_are_those_of_the_reference_library() -> None:
    odd = replace(PACKAGES[0], name="libstdc++6", version="1:14.2~rc1+dfsg-19")
    for package in (*PACKAGES, odd):
        expected = PackageURL(
            *("deb", "debian", package.name, package.version),
            {"arch": package.architecture, "distro": "trixie"},
        )
        assert PackageURL.from_string(name_package(package)) == expected
    assert name_package(odd) == "pkg:deb/debian/libstdc%2B%2B6@1:14.2~rc1%2Bdfsg-19?arch=amd64&distro=trixie"
    assert name_package(PythonPackage("Py_Sync.Obj", "1.0", "x", "")) == "pkg:pypi/py-sync-obj@1.0"


def test_it_says_where_an_asset_is_from_and_its_licence() -> None:
    (asset,) = MANIFEST.assets
    found = next(e for e in json.loads(encode_sbom(MANIFEST))["components"] if e["name"] == "tool")
    qualifiers = {"checksum": f"sha256:{asset.sha256}", "download_url": asset.url}
    expected = PackageURL("generic", None, "tool", "v1.2+x", qualifiers)
    assert PackageURL.from_string(found["purl"]) == expected
    assert found["licenses"][0]["license"]["id"] == "Apache-2.0"
    given = replace(asset, version="given", url="", licence="")
    changed = encode_sbom(replace(MANIFEST, assets=(given,)))
    found = next(e for e in json.loads(changed)["components"] if e["name"] == "tool")
    assert found["purl"] == f"pkg:generic/tool@given?checksum=sha256:{asset.sha256}"
    assert "licenses" not in found
