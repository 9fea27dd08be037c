# SPDX-License-Identifier: Apache-2.0
"""Kernel image and ESP: what firmware runs is signed, is the recorded one, and measures as promised."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from image.keys import make_keys
from image.pe import read_sections
from image.verification.kernel import (
    check_command_line,
    check_esp,
    check_kernel_signature,
    check_measurements,
)
from tests.verification.tiny_image import TinyImage, make_kernel, run

CERTIFIED = "a Secure Boot signature by secureboot.crt"


def change_section(kernel: Path, section: str, old: bytes, new: bytes) -> None:
    """Change the content of a section, its length staying as it is."""
    data = kernel.read_bytes()
    content = read_sections(data, kernel.name)[section]
    assert len(old) == len(new)
    assert old in content
    assert data.count(content) == 1
    kernel.write_bytes(data.replace(content, content.replace(old, new)))


def esp_of(image: TinyImage) -> str:
    """The ESP of the disk image as mtools name it."""
    return f"{image.path('disk')}@@{image.manifest.partitions[0].offset}"


def test_an_intact_kernel_image_has_no_findings(intact: TinyImage, tmp_path: Path) -> None:
    artefacts = intact.artefacts(tmp_path / "scratch")
    for check in (check_command_line, check_kernel_signature, check_esp, check_measurements):
        assert list(check(artefacts)) == []


def test_another_root_hash_on_the_command_line_is_found(image: TinyImage, tmp_path: Path) -> None:
    change_section(image.path("kernel"), ".cmdline", b"roothash=", b"roothush=")
    artefacts = image.artefacts(tmp_path / "scratch")
    found = list(check_command_line(artefacts))
    assert [(finding.expected, finding.found) for finding in found] == [
        (f"roothash={image.manifest.root_hash}", "no root hash")
    ]
    assert [finding.expected for finding in check_kernel_signature(artefacts)] == [CERTIFIED]


def test_a_second_root_on_the_command_line_is_found(image: TinyImage, tmp_path: Path) -> None:
    for option in ("root=/dev/sda2 ", "roothash=00 ", "usrhash=00 ", "systemd.verity=no "):
        spoilt = image.copy(tmp_path / option.partition("=")[0])
        old = b"systemd.verity_root_options=panic-on-corruption"
        change_section(spoilt.path("kernel"), ".cmdline", old, option.encode().ljust(len(old), b"x"))
        found = list(check_command_line(spoilt.artefacts(tmp_path / "scratch")))
        assert len(found) == 1, option


def test_a_kernel_image_by_another_key_is_found(image: TinyImage, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "other", development=True)
    make_kernel(image.tools, other, tmp_path, image.path("kernel"), image.manifest.root_hash)
    artefacts = image.artefacts(tmp_path / "scratch")
    assert [finding.expected for finding in check_kernel_signature(artefacts)] == [CERTIFIED]
    assert [finding.found for finding in check_esp(artefacts)] != []
    assert next(iter(check_measurements(artefacts))).found == "another or none"


def test_an_unsigned_kernel_image_is_found(image: TinyImage, tmp_path: Path) -> None:
    shutil.copyfile(image.tools.root / "usr/lib/systemd/boot/efi/linuxx64.efi.stub", image.path("kernel"))
    artefacts = image.artefacts(tmp_path / "scratch")
    assert [finding.expected for finding in check_kernel_signature(artefacts)] == [CERTIFIED]
    assert len(list(check_command_line(artefacts))) == 1
    assert len(list(check_measurements(artefacts))) == 2


def test_measured_content_that_was_not_promised_is_found(image: TinyImage, tmp_path: Path) -> None:
    change_section(image.path("kernel"), ".initrd", b"no initrd", b"my initrd")
    found = list(check_measurements(image.artefacts(tmp_path / "scratch")))
    assert len(found) == 1
    assert found[0].expected.startswith("policies ")


def test_a_flipped_bit_of_a_measurement_signature_is_found(image: TinyImage, tmp_path: Path) -> None:
    kernel = image.path("kernel")
    signature = json.loads(read_sections(kernel.read_bytes(), kernel.name)[".pcrsig"].rstrip(b"\0"))[
        "sha256"
    ][0]["sig"]
    changed = ("B" if signature[10] == "A" else "A").join((signature[:10], signature[11:]))
    change_section(kernel, ".pcrsig", signature.encode(), changed.encode())
    found = list(check_measurements(image.artefacts(tmp_path / "scratch")))
    assert [finding.found for finding in found] == ["one that is not valid"]


def test_a_signature_for_another_pcr_is_found(image: TinyImage, tmp_path: Path) -> None:
    change_section(image.path("kernel"), ".pcrsig", b'"pcrs": [11]', b'"pcrs": [12]')
    found = list(check_measurements(image.artefacts(tmp_path / "scratch")))
    assert {(finding.expected, finding.found) for finding in found} == {("PCR 11", "[12]")}


def test_an_unsigned_or_other_program_on_the_esp_is_found(image: TinyImage, tmp_path: Path) -> None:
    unsigned = image.tools.root / "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    run(image.tools, "mcopy", "-o", "-i", esp_of(image), unsigned, "::/EFI/BOOT/BOOTX64.EFI")
    run(image.tools, "mcopy", "-o", "-i", esp_of(image), unsigned, "::/EFI/Linux/cluster-os.efi")
    run(image.tools, "mcopy", "-i", esp_of(image), image.path("kernel"), "::/EFI/Linux/second.efi")
    found = {
        finding.file.rpartition(", ")[2]: finding.expected
        for finding in check_esp(image.artefacts(tmp_path / "s"))
    }
    assert found == {
        "ESP": "one kernel image",
        "/EFI/BOOT/BOOTX64.EFI": CERTIFIED,
        "/EFI/Linux/cluster-os.efi": f"the bytes of {image.path('kernel').name}",
    }


def test_an_esp_that_is_no_file_system_is_a_finding(image: TinyImage, tmp_path: Path) -> None:
    esp = image.manifest.partitions[0]
    with image.path("disk").open("r+b") as disk:
        disk.seek(esp.offset)
        disk.write(bytes(1 << 20))
    assert [finding.expected for finding in check_esp(image.artefacts(tmp_path / "s"))] == [
        "a FAT file system"
    ]


def test_a_tool_that_is_not_there_is_no_pass(intact: TinyImage, tmp_path: Path) -> None:
    """A tools tree without a program must not make its check succeed."""
    tree = tmp_path / "tree"
    (tree / "usr/bin").mkdir(parents=True)
    done = subprocess.run(
        replace(intact.tools, root=tree).command(["sbverify"]), capture_output=True, check=False
    )
    assert done.returncode != 0
    artefacts = replace(intact, tools=replace(intact.tools, root=tree)).artefacts(tmp_path / "scratch")
    for check in (check_kernel_signature, check_esp, check_measurements):
        assert list(check(artefacts)) != []
