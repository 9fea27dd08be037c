# SPDX-License-Identifier: Apache-2.0
"""Disk image, hash tree and root signature: each is checked against the others, whoever signed the list."""

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import ClusterError
from image.keys import make_keys
from image.verification.disk import check_hash_tree, check_partitions, check_root_signature, check_roots
from image.verification.findings import Artefacts, Finding
from tests.verification.tiny_image import TinyImage, run

CHECKS = (check_partitions, check_roots, check_hash_tree, check_root_signature)


def flip(file: Path, place: int) -> None:
    """Change one bit of one byte."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def find(image: TinyImage, scratch: Path, check: Callable[[Artefacts], Iterable[Finding]]) -> list[Finding]:
    """Run one check."""
    return list(check(image.artefacts(scratch)))


@pytest.mark.parametrize("check", CHECKS)
def test_an_intact_disk_has_no_findings(
    intact: TinyImage, tmp_path: Path, check: Callable[[Artefacts], Iterable[Finding]]
) -> None:
    assert find(intact, tmp_path / "scratch", check) == []


def test_a_changed_partition_is_named(image: TinyImage, tmp_path: Path) -> None:
    for partition in image.manifest.partitions:
        flip(image.path("disk"), partition.offset + partition.size // 2)
        found = find(image, tmp_path / "scratch", check_partitions)
        place = f"{image.path('disk').name}, partition {partition.label}"
        assert [(finding.file, finding.expected) for finding in found] == [
            (place, f"SHA-256 {partition.sha256}")
        ]
        flip(image.path("disk"), partition.offset + partition.size // 2)


def test_a_partition_file_with_other_bytes_is_named(image: TinyImage, tmp_path: Path) -> None:
    for role in ("root", "root-verity", "root-verity-sig"):
        flip(image.path(role), 5000)
    found = find(image, tmp_path / "scratch", check_partitions)
    assert {finding.file: finding.expected for finding in found} == {
        image.path(role).name: f"the bytes of partition {label}"
        for role, label in (
            ("root", "root-x86-64"),
            ("root-verity", "root-x86-64-verity"),
            ("root-verity-sig", "root-x86-64-verity-sig"),
        )
    }


def test_a_partition_that_is_elsewhere_or_not_recorded_is_named(intact: TinyImage, tmp_path: Path) -> None:
    esp, root, *rest = intact.manifest.partitions
    moved = replace(
        intact, manifest=replace(intact.manifest, partitions=(esp, replace(root, offset=512), *rest))
    )
    found = find(moved, tmp_path / "scratch", check_partitions)
    assert [finding.file for finding in found] == [f"{intact.path('disk').name}, partition {root.label}"]
    fewer = replace(intact, manifest=replace(intact.manifest, partitions=(root, *rest)))
    found = find(fewer, tmp_path / "scratch", check_partitions)
    assert [finding.found for finding in found] == ["only in one of them", "0"]


def test_a_damaged_partition_table_is_an_error(image: TinyImage, tmp_path: Path) -> None:
    flip(image.path("disk"), 512 + 60)
    with pytest.raises(ClusterError, match="the checksum of its header is wrong"):
        find(image, tmp_path / "scratch", check_partitions)


def test_partition_uuids_that_do_not_come_from_the_root_hash_are_named(
    intact: TinyImage, tmp_path: Path
) -> None:
    changed = replace(intact, manifest=replace(intact.manifest, root_hash="0" * 64))
    found = find(changed, tmp_path / "scratch", check_roots)
    assert [finding.file for finding in found] == ["partition root-x86-64", "partition root-x86-64-verity"]


@pytest.mark.parametrize(
    ("role", "place"), [("root", 0), ("root", -1), ("root-verity", 0), ("root-verity", 4096)]
)
def test_a_flipped_byte_under_the_hash_tree_is_found(
    image: TinyImage, tmp_path: Path, role: str, place: int
) -> None:
    flip(image.path(role), place)
    assert [finding.file for finding in find(image, tmp_path / "scratch", check_hash_tree)] == [
        image.path("root").name
    ]


def test_another_root_hash_is_found(intact: TinyImage, tmp_path: Path) -> None:
    changed = replace(intact, manifest=replace(intact.manifest, root_hash="0" * 64))
    assert len(find(changed, tmp_path / "scratch", check_hash_tree)) == 1
    found = find(changed, tmp_path / "scratch", check_root_signature)
    assert found[0].found == intact.manifest.root_hash
    assert found[1].expected == "a signature of the root hash by secureboot.crt"


def test_a_root_signature_by_another_key_is_found_whatever_certificate_it_brings(
    image: TinyImage, tmp_path: Path
) -> None:
    other, content, signed = (
        make_keys(tmp_path / "other", development=True),
        tmp_path / "hash",
        tmp_path / "p7s",
    )
    content.write_text(image.manifest.root_hash)
    file, scratch = image.path("root-verity-sig"), tmp_path / "scratch"
    record = json.loads(file.read_bytes().rstrip(b"\0"))
    for keys, expected in ((image.keys, []), (other, ["a signature of the root hash by secureboot.crt"])):
        run(
            *(image.tools, "openssl", "smime", "-sign", "-binary", "-noattr", "-in", content, "-out", signed),
            *("-outform", "DER", "-inkey", keys.secure_boot_key, "-signer", keys.secure_boot_certificate),
        )
        file.write_text(json.dumps({**record, "signature": base64.b64encode(signed.read_bytes()).decode()}))
        assert [finding.expected for finding in find(image, scratch, check_root_signature)] == expected


def test_a_root_signature_that_names_another_certificate_is_found(image: TinyImage, tmp_path: Path) -> None:
    file = image.path("root-verity-sig")
    record = json.loads(file.read_bytes().rstrip(b"\0"))
    file.write_text(json.dumps({**record, "certificateFingerprint": "0" * 64}))
    assert [finding.found for finding in find(image, tmp_path / "scratch", check_root_signature)] == [
        "0" * 64
    ]


def test_a_flipped_bit_of_the_root_signature_is_found(image: TinyImage, tmp_path: Path) -> None:
    file = image.path("root-verity-sig")
    record = json.loads(file.read_bytes().rstrip(b"\0"))
    signature = bytearray(base64.b64decode(record["signature"]))
    signature[-1] ^= 1
    file.write_text(json.dumps({**record, "signature": base64.b64encode(signature).decode()}))
    assert len(find(image, tmp_path / "scratch", check_root_signature)) == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"rootHash": 1, "certificateFingerprint": 2, "signature": 3}']
)
def test_what_is_not_a_root_signature_is_a_finding(image: TinyImage, tmp_path: Path, text: str) -> None:
    image.path("root-verity-sig").write_text(text)
    assert [finding.found for finding in find(image, tmp_path / "scratch", check_root_signature)] == [
        "something else"
    ]
