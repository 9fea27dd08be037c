# SPDX-License-Identifier: Apache-2.0
"""The software bill of materials: packages and assets of a manifest in CycloneDX 1.6.

Formats: https://cyclonedx.org/docs/1.6/json/ and https://github.com/package-url/purl-spec (types deb, pypi,
generic).
"""

import datetime
import json
import re
import uuid
from collections.abc import Collection, Mapping
from urllib.parse import quote

from image.licences import is_spdx
from image.manifest import AssetRecord, Manifest, Package, PythonPackage

NAME = "sbom.cdx.json"
_DISTRIBUTION = "trixie"
# Serial numbers are UUIDs (version 5) of the content in this name space, which is ours alone.
_NAMESPACE = uuid.UUID("f7c3a1d2-56f1-4d5e-9a2c-0d1c8b6d3f27")


def encode_sbom(manifest: Manifest, licences: Mapping[str, Collection[str]] | None = None) -> str:
    """Return the SBOM of the image that `manifest` describes, as JSON.

    `licences` holds those that are known, by the name of the source package or of the Python package.
    """
    known = licences or {}
    places: dict[Package | PythonPackage, list[str]] = {}
    for place, packages in (("root", manifest.packages), ("initrd", manifest.initrd_packages)):
        for package in packages:
            places.setdefault(package, []).append(place)
    for python_package in manifest.python_packages:
        places[python_package] = ["root"]
    components = [_describe(package, where, known) for package, where in places.items()]
    components += [_describe_asset(asset) for asset in manifest.assets]
    components.sort(key=lambda component: str(component["bom-ref"]))
    subject = f"{manifest.image_id}@{manifest.version}"
    time = datetime.datetime.fromtimestamp(manifest.source_date_epoch, datetime.UTC)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "bom-ref": subject,
                "type": "operating-system",
                "name": manifest.image_id,
                "version": manifest.version,
                "properties": [
                    {"name": "cluster-os:profile", "value": manifest.profile},
                    {"name": "cluster-os:commit", "value": manifest.commit},
                    {"name": "cluster-os:root-hash", "value": manifest.root_hash},
                ],
            },
            "tools": {
                "components": [
                    {"type": "application", "name": "mkosi", "version": manifest.tools.mkosi},
                    {"type": "application", "name": "systemd", "version": manifest.tools.systemd},
                    {"type": "application", "name": "erofs-utils", "version": manifest.tools.erofs_utils},
                ]
            },
        },
        "components": components,
        "dependencies": [
            {"ref": subject, "dependsOn": [component["bom-ref"] for component in components]},
        ],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(document, sort_keys=True))
    document["serialNumber"] = f"urn:uuid:{serial}"
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def name_package(package: Package | PythonPackage | AssetRecord) -> str:
    """Return the package URL of a package or an asset."""
    version = quote(package.version, safe=":~")
    if isinstance(package, AssetRecord):
        download = f"&download_url={quote(package.url, safe='')}" if package.url else ""
        return f"pkg:generic/{package.name}@{version}?checksum=sha256:{package.sha256}{download}"
    if isinstance(package, PythonPackage):
        # The index takes names in any case and with any of these separators for the same.
        return f"pkg:pypi/{quote(re.sub(r'[-_.]+', '-', package.name).lower(), safe='')}@{version}"
    name = quote(package.name, safe="")
    return f"pkg:deb/debian/{name}@{version}?arch={package.architecture}&distro={_DISTRIBUTION}"


def _describe(
    package: Package | PythonPackage, places: list[str], licences: Mapping[str, Collection[str]]
) -> dict[str, object]:
    properties = [{"name": "cluster-os:in", "value": place} for place in places]
    if isinstance(package, Package):
        properties += [
            {"name": "cluster-os:source", "value": f"{package.source} {package.source_version}"},
            {"name": "cluster-os:filename", "value": package.filename},
        ]
    else:
        properties += [{"name": "cluster-os:filename", "value": package.filename}]
    found = licences.get(package.source if isinstance(package, Package) else package.name, ())
    declared = [
        {"license": {"id" if is_spdx(name) else "name": name, "acknowledgement": "declared"}}
        for name in sorted(found)
    ]
    return {
        "bom-ref": name_package(package),
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": name_package(package),
        "hashes": [{"alg": "SHA-256", "content": package.sha256}],
        **({"licenses": declared} if declared else {}),
        "properties": properties,
    }


def _describe_asset(asset: AssetRecord) -> dict[str, object]:
    kind = "id" if is_spdx(asset.licence) else "name"
    licences = [{"license": {kind: asset.licence, "acknowledgement": "declared"}}] if asset.licence else []
    return {
        "bom-ref": name_package(asset),
        "type": "file",
        "name": asset.name,
        "version": asset.version,
        "purl": name_package(asset),
        "hashes": [{"alg": "SHA-256", "content": asset.sha256}],
        **({"licenses": licences} if licences else {}),
        "properties": [
            {"name": "cluster-os:in", "value": "root"},
            {"name": "cluster-os:path", "value": asset.path},
        ],
    }
