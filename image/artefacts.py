# SPDX-License-Identifier: Apache-2.0
"""Take up what mkosi made: name the artefacts, record what they are made of, and sign them."""

import hashlib
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path

from agent.errors import ClusterError
from image import checksums, manifest, minisign, packages, sbom
from image.environment import MKOSI_VERSION, Environment
from image.keys import load_release_key
from image.licences import collect_licences, read_python_licences
from image.manifest import Artefact, Manifest, Package, PartitionRecord, PythonPackage
from image.mkosi import Order, trees_of
from image.packagerecords import recall_packages
from image.packages import Installed
from image.partitions import read_partitions
from image.requirements import are_wheels, choose_requirements
from image.source import Source

MANIFEST = "manifest.json"
SIGNATURE = f"{checksums.NAME}.minisig"
# Endings of mkosi's files after the image's name, and the role of each.
ROLES = {
    ".raw": "disk",
    ".efi": "kernel",
    ".root.raw": "root",
    ".root-verity.raw": "root-verity",
    ".root-verity-sig.raw": "root-verity-sig",
}
_PARTITION_ROLES = {
    "root-x86-64": "root",
    "root-x86-64-verity": "root-verity",
    "root-x86-64-verity-sig": "root-verity-sig",
}
_REQUIREMENT = re.compile(r"^([a-z0-9-]+)==(\S+) .*?--hash=sha256:([0-9a-f]{64})$", re.MULTILINE | re.DOTALL)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Contents:
    """The Debian packages of an image, and the time (seconds) of the archive that they came from."""

    root: tuple[Package, ...]
    initrd: tuple[Package, ...]
    archive_epoch: int


def describe_build(made: Path, new: Path, order: Order, source: Source, environment: Environment) -> Manifest:
    """Move mkosi's files from `made` into the folder `new`, and add all that describes and signs them."""
    for ending in ROLES:
        shutil.move(made / f"{order.name}{ending}", new / f"{order.name}{ending}")
        (new / f"{order.name}{ending}").chmod(0o644)
    keys = order.keys
    for file, name in (
        (keys.secure_boot_certificate, "secureboot.crt"),
        (keys.pcr_public_key, "pcr.pub"),
        (keys.release_public_key, "release.pub"),
    ):
        shutil.copyfile(file, new / name)
    roles = {f"{order.name}{ending}": role for ending, role in ROLES.items()}
    roles |= {
        "secureboot.crt": "secure-boot-certificate",
        "pcr.pub": "pcr-public-key",
        "release.pub": "release-public-key",
    }
    with ThreadPoolExecutor() as threads:
        partitions = threads.submit(_hash_partitions, new / f"{order.name}.raw")
        records = threads.map(_record, [new / name for name in roles], roles.values())
        contents = _find_contents(made, order, environment)
        licences = {
            **collect_licences(contents.root, new / f"{order.name}.root.raw", environment.tools),
            **{
                name: found
                for packages in environment.site_packages_of(order.profile)
                for name, found in read_python_licences(packages).items()
            },
        }
        artefacts = list(records)
    found = Manifest(
        format=manifest.FORMAT,
        image_id="cluster-os",
        version=order.version,
        profile=order.profile,
        architecture="x86-64",
        development=keys.development,
        commit=source.commit,
        dirty=source.dirty,
        source_date_epoch=order.epoch,
        archive_epoch=contents.archive_epoch,
        configuration=order.configuration,
        root_hash=read_root_hash(new / f"{order.name}.root-verity-sig.raw"),
        packages=contents.root,
        initrd_packages=contents.initrd,
        python_packages=tuple(
            package
            for name, requirements in choose_requirements(environment.project, order.profile).items()
            for package in read_requirements(requirements.read_text(), wheels=are_wheels(name))
        ),
        assets=order.assets,
        partitions=_name_files(partitions.result(), artefacts),
        artefacts=tuple(artefacts),
        keys=keys.fingerprints,
        tools=_read_tools(environment),
    )
    (new / sbom.NAME).write_text(sbom.encode_sbom(found, licences))
    found = manifest.parse_manifest(
        manifest.encode_manifest(replace(found, artefacts=(*artefacts, _record(new / sbom.NAME, "sbom"))))
    )
    (new / MANIFEST).write_text(manifest.encode_manifest(found))
    digests = {artefact.name: artefact.sha256 for artefact in found.artefacts}
    sums = new / checksums.NAME
    sums.write_text(checksums.encode_checksums(digests | {MANIFEST: checksums.hash_file(new / MANIFEST)}))
    (new / SIGNATURE).write_text(minisign.sign_file(sums, load_release_key(keys), timestamp=order.epoch))
    return found


def _record(file: Path, role: str) -> Artefact:
    return Artefact(file.name, role, file.stat().st_size, checksums.hash_file(file))


def _hash_partitions(disk: Path) -> tuple[PartitionRecord, ...]:
    with disk.open("rb") as content:
        records = []
        for partition in read_partitions(disk).partitions:
            content.seek(partition.offset)
            digest = hashlib.sha256()
            left = partition.size
            while left and (block := content.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
            records.append(
                PartitionRecord(
                    partition.label,
                    partition.type,
                    partition.uuid,
                    partition.offset,
                    partition.size,
                    digest.hexdigest(),
                    "",
                )
            )
    return tuple(records)


def _name_files(
    partitions: tuple[PartitionRecord, ...], artefacts: list[Artefact]
) -> tuple[PartitionRecord, ...]:
    """Say for each partition which artefact has the same content."""
    names = {artefact.role: artefact.name for artefact in artefacts}
    return tuple(
        replace(each, file=names.get(_PARTITION_ROLES.get(each.type, ""), "")) for each in partitions
    )


def read_root_hash(signature_partition: Path) -> str:
    """Return the root hash from a verity signature partition (JSON, padded with zeros)."""
    try:
        return str(json.loads(signature_partition.read_bytes().rstrip(b"\0"))["rootHash"])
    except (ValueError, KeyError) as error:
        raise ClusterError(
            f"{signature_partition.name} has no root hash", hint="this is a bug: see the log"
        ) from error


def read_requirements(text: str, *, wheels: bool) -> tuple[PythonPackage, ...]:
    """Return what a pip requirements file pins, with one hash each: source archives, or pure wheels."""
    return tuple(
        PythonPackage(
            name,
            version,
            f"{name.replace('-', '_')}-{version}-py3-none-any.whl" if wheels else f"{name}-{version}.tar.gz",
            sha256,
        )
        for name, version, sha256 in _REQUIREMENT.findall(text)
    )


def _find_contents(made: Path, order: Order, environment: Environment) -> Contents:
    root = read_mkosi_manifest((made / f"{order.name}.manifest").read_text())
    initrd = read_mkosi_manifest((made / "initrd.manifest").read_text())
    if order.recorded:
        records = {(p.name, p.version, p.architecture): p for p in order.recorded}
        return Contents(
            packages.join_packages(root, records),
            packages.join_packages(initrd, records),
            order.archive_epoch,
        )
    lists = next(trees_of(environment, order.profile).glob("*.metadata.cache/lib/apt/lists"))
    memory = environment.cache / "records" / f"{order.profile}.json"
    both = recall_packages({*root, *initrd}, lists, memory)
    records = {(p.name, p.version, p.architecture): p for p in both}
    return Contents(
        packages.join_packages(root, records),
        packages.join_packages(initrd, records),
        _read_archive_epoch(lists),
    )


def read_mkosi_manifest(text: str) -> tuple[Installed, ...]:
    """Return the packages of an image from the manifest that mkosi writes."""
    return tuple(
        Installed(entry["name"], entry["version"], entry["architecture"], entry["name"], entry["version"])
        for entry in json.loads(text)["packages"]
    )


def _read_archive_epoch(lists: Path) -> int:
    """Return the time of the newest release file among apt's lists."""
    times = [0]
    for file in lists.glob("*_InRelease"):
        dates = [line for line in file.read_text().splitlines() if line.startswith("Date:")]
        times += [
            int(parsedate_to_datetime(line.removeprefix("Date:").strip()).timestamp()) for line in dates[:1]
        ]
    return max(times)


def _read_tools(environment: Environment) -> manifest.Tools:
    status = (environment.tools.root / "var/lib/dpkg/status").read_text()
    versions = {package.name: package.version for package in packages.read_installed(status)}
    return manifest.Tools(MKOSI_VERSION, versions["systemd"], versions["erofs-utils"])
