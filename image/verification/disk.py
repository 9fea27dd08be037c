# SPDX-License-Identifier: Apache-2.0
"""Check the disk image: partitions against the record, root against hash tree and signature."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from image.checksums import hash_range
from image.manifest import PartitionRecord
from image.partitions import Partition, read_partitions
from image.verification.findings import MALFORMED, Artefacts, Finding, run_tool, shorten

_REQUIRED = ("esp", "root-x86-64", "root-x86-64-verity", "root-x86-64-verity-sig")
_LARGEST_SIGNATURE = 4 * 1024 * 1024  # bytes of the partition that holds it; repart makes 16 kB


def check_partitions(artefacts: Artefacts) -> Iterator[Finding]:
    """Check table and content of the disk image against the manifest; partition files hold the same bytes."""
    disk = artefacts.path("disk")
    found = {partition.uuid: partition for partition in read_partitions(disk).partitions}
    recorded = {partition.uuid: partition for partition in artefacts.manifest.partitions}
    for uuid in sorted({*found, *recorded}):
        before, after = recorded.get(uuid), found.get(uuid)
        place = f"{disk.name}, partition {before.label if before else after.label if after else ''}"
        if before is None or after is None:
            yield Finding(place, "it in table and manifest", "only in one of them")
            continue
        if _place(before) != _place(after):
            yield Finding(place, _place(before), _place(after))
        digest = hash_range(disk, after.offset, after.size)
        if digest != before.sha256:
            yield Finding(place, f"SHA-256 {before.sha256}", digest)
        if before.file and (file := artefacts.directory / before.file).is_file():
            digest = hash_range(file, 0, file.stat().st_size)
            if digest != before.sha256:
                yield Finding(before.file, f"the bytes of partition {before.label}", f"SHA-256 {digest}")
    types = [partition.type for partition in artefacts.manifest.partitions]
    for name in _REQUIRED:
        if types.count(name) != 1:
            yield Finding(disk.name, f"one partition of type {name}", str(types.count(name)))


def check_roots(artefacts: Artefacts) -> Iterator[Finding]:
    """Check that the partitions are those that a node looks for: their UUIDs are halves of the root hash.

    https://uapi-group.org/specifications/specs/discoverable_partitions_specification/
    """
    root_hash = artefacts.manifest.root_hash
    halves = {"root-x86-64": root_hash[:32], "root-x86-64-verity": root_hash[32:]}
    for partition in artefacts.manifest.partitions:
        half = halves.get(partition.type)
        if half and partition.uuid.replace("-", "") != half:
            yield Finding(f"partition {partition.label}", f"UUID {half} (of the root hash)", partition.uuid)


def check_hash_tree(artefacts: Artefacts) -> Iterator[Finding]:
    """Check every block of the root against the dm-verity hash tree, and that against the root hash."""
    root, tree = artefacts.path("root"), artefacts.path("root-verity")
    done = run_tool(artefacts, ["veritysetup", "verify", root, tree, artefacts.manifest.root_hash])
    if done.returncode != 0:
        yield Finding(
            root.name, f"content with root hash {artefacts.manifest.root_hash}", shorten(done.stderr)
        )


def check_root_signature(artefacts: Artefacts) -> Iterator[Finding]:
    """Check the signature partition: PKCS#7 over the root hash, by the Secure Boot key.

    https://uapi-group.org/specifications/specs/discoverable_partitions_specification/ (verity signature)
    """
    file, manifest = artefacts.path("root-verity-sig"), artefacts.manifest
    with file.open("rb") as stream:
        data = stream.read(_LARGEST_SIGNATURE)
    try:
        record = json.loads(data.rstrip(b"\0"))
        root_hash, fingerprint = str(record["rootHash"]), str(record["certificateFingerprint"])
        signature = base64.b64decode(record["signature"], validate=True)
    except MALFORMED:
        yield Finding(file.name, "JSON with root hash, fingerprint and signature", "something else")
        return
    if root_hash != manifest.root_hash:
        yield Finding(f"{file.name}, root hash", manifest.root_hash, root_hash)
    if fingerprint != manifest.keys.secure_boot:
        yield Finding(f"{file.name}, certificate", manifest.keys.secure_boot, fingerprint)
    signed, content = artefacts.scratch / "root-hash.p7s", artefacts.scratch / "root-hash"
    signed.write_bytes(signature)
    content.write_text(manifest.root_hash)
    certificate = artefacts.path("secure-boot-certificate")
    # The certificate that we know counts, not one inside the signature; it is its own root.
    command = ["openssl", "smime", "-verify", "-binary", "-inform", "DER", "-noverify", "-nointern"]
    files: list[str | Path] = [
        "-certfile",
        certificate,
        "-in",
        signed,
        "-content",
        content,
        "-out",
        "/dev/null",
    ]
    done = run_tool(artefacts, [*command, *files])
    if done.returncode != 0:
        yield Finding(file.name, f"a signature of the root hash by {certificate.name}", shorten(done.stderr))


def _place(partition: Partition | PartitionRecord) -> str:
    return f"{partition.type} {partition.label!r} at byte {partition.offset} with {partition.size} bytes"
