# SPDX-License-Identifier: Apache-2.0
"""Check the manifest and the SBOM against the files, the digests and the keys beside them."""

import json
from collections.abc import Iterator, Mapping

from image import minisign
from image.certificates import (
    fingerprint_certificate,
    fingerprint_public_key,
    parse_certificate,
    parse_public_key,
)
from image.manifest import ROLES, AssetRecord, Package, PythonPackage
from image.sbom import name_package
from image.verification.findings import MALFORMED, Artefacts, Finding

MANIFEST = "manifest.json"


def check_record(artefacts: Artefacts, sums: Mapping[str, str]) -> Iterator[Finding]:
    """Check that manifest and SHA256SUMS name the same files, with the same digests and right sizes."""
    manifest = artefacts.manifest
    recorded = {artefact.name: artefact for artefact in manifest.artefacts}
    for name in sorted({*recorded, *sums} - {MANIFEST}):
        artefact, digest = recorded.get(name), sums.get(name)
        if artefact is None or digest is None:
            lister = "SHA256SUMS" if artefact is None else MANIFEST
            yield Finding(name, f"to be listed in SHA256SUMS and {MANIFEST}", f"only in {lister}")
            continue
        if artefact.sha256 != digest:
            yield Finding(f"{MANIFEST}, {name}", f"SHA-256 {digest} as in SHA256SUMS", artefact.sha256)
        path = artefacts.directory / name
        if path.is_file() and path.stat().st_size != artefact.size:
            yield Finding(name, f"{artefact.size} bytes", f"{path.stat().st_size} bytes")
    for role in ROLES:
        if manifest.find_artefact(role) is None:
            yield Finding(MANIFEST, f"an artefact with the role {role}", "none")


def check_keys(artefacts: Artefacts, key: minisign.PublicKey) -> Iterator[Finding]:
    """Check that the public keys in the folder are those of the manifest, and `key` the release key."""
    recorded = artefacts.manifest.keys
    if recorded.release != key.name:
        yield Finding(f"{MANIFEST}, release key", key.name, recorded.release)
    path = artefacts.path("release-public-key")
    if minisign.parse_public_key(minisign.read_key_text(path), path.name) != key:
        yield Finding(path.name, f"release key {key.name}", "another key")
    path = artefacts.path("secure-boot-certificate")
    found = fingerprint_certificate(parse_certificate(path.read_bytes(), path.name))
    if found != recorded.secure_boot:
        yield Finding(path.name, f"the certificate {recorded.secure_boot}", found)
    path = artefacts.path("pcr-public-key")
    found = fingerprint_public_key(parse_public_key(path.read_bytes(), path.name))
    if found != recorded.pcr:
        yield Finding(path.name, f"the key {recorded.pcr}", found)


def check_sbom(artefacts: Artefacts) -> Iterator[Finding]:
    """Check that the SBOM lists packages and assets of the manifest, with their digests."""
    manifest = artefacts.manifest
    packages: list[Package | PythonPackage | AssetRecord] = [
        *manifest.packages,
        *manifest.initrd_packages,
        *manifest.python_packages,
        *manifest.assets,
    ]
    expected = {name_package(package): package.sha256 for package in packages}
    path = artefacts.path("sbom")
    try:
        components = json.loads(path.read_bytes())["components"]
        found = {str(component["purl"]): str(component["hashes"][0]["content"]) for component in components}
    except MALFORMED:
        yield Finding(path.name, "a CycloneDX SBOM", "something else")
        return
    for name in sorted({*expected, *found}):
        before, after = expected.get(name, "nothing"), found.get(name, "nothing")
        if before != after:
            yield Finding(f"{path.name}, {name}", f"{before} as in {MANIFEST}", after)
