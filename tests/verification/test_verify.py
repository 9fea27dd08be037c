# SPDX-License-Identifier: Apache-2.0
"""Verification as a whole: what is intact passes, and what is not is named."""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import ClusterError
from image import minisign
from image.keys import make_keys
from image.verification.findings import Finding
from image.verification.sums import check_digests, check_signature, read_sums
from image.verify import verify
from tests.verification.tiny_image import TinyImage

SIGNED = ("SHA256SUMS", "SHA256SUMS.minisig")


def signature_findings(image: TinyImage) -> list[Finding | ClusterError]:
    """Check the signature of the list of digests; return what is wrong."""
    key = minisign.parse_public_key(image.keys.release_public_key.read_text(), "release.pub")
    try:
        return [*check_signature(image.directory, key)]
    except ClusterError as error:
        return [error]


def digest_findings(image: TinyImage) -> list[str]:
    """Check all files against the list of digests; return what is wrong."""
    return [str(finding) for finding in check_digests(image.directory, read_sums(image.directory))]


def flip(file: Path, place: int) -> None:
    """Change one bit of one byte."""
    with file.open("r+b") as content:
        content.seek(place)
        byte = content.read(1)[0]
        content.seek(place)
        content.write(bytes([byte ^ 1]))


def verify_lines(image: TinyImage) -> str:
    """Verify all of it with the key that made it; return the findings."""
    report = verify(image.directory, image.keys.release_public_key, image.tools)
    assert report.passed == (not report.findings)
    return "\n".join(report.lines())


def test_intact_artefacts_pass_every_check_and_stay_as_they_were(intact: TinyImage) -> None:
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in intact.directory.iterdir()}
    report = verify(intact.directory, intact.keys.release_public_key, intact.tools)
    assert report.lines()[-1] == f"passed: cluster-os 0.1.0-dev tiny, root hash {intact.manifest.root_hash}"
    assert report.passed
    assert len(report.checks) == 17
    assert any("DEVELOPMENT" in line for line in report.lines())
    after = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in intact.directory.iterdir()}
    assert before == after


@pytest.mark.parametrize("name", SIGNED)
def test_every_flipped_byte_of_the_signed_list_is_found(image: TinyImage, name: str) -> None:
    file = image.directory / name
    for place in range(file.stat().st_size):
        flip(file, place)
        assert signature_findings(image), f"byte {place}"
        flip(file, place)
    assert signature_findings(image) == []


def test_a_flipped_byte_anywhere_in_any_file_is_found_and_the_file_named(image: TinyImage) -> None:
    chance = random.Random(2)
    files = [file for file in sorted(image.directory.iterdir()) if file.name not in SIGNED]
    assert len(files) == 10
    for file in files:
        size = file.stat().st_size
        for place in (0, size - 1, chance.randrange(size)):
            flip(file, place)
            found = digest_findings(image)
            assert len(found) == 1
            assert found[0].startswith(f"{file.name}: expected SHA-256 "), f"byte {place}"
            flip(file, place)
    assert digest_findings(image) == []


def test_a_flipped_byte_is_reported_with_file_expected_and_found(image: TinyImage) -> None:
    root = image.path("root")
    flip(root, 4096)
    text = verify_lines(image)
    recorded = image.manifest.find_artefact("root")
    assert recorded
    assert f"{root.name}: expected SHA-256 {recorded.sha256}, found " in text
    assert "WRONG  dm-verity: root against hash tree and root hash" in text
    assert text.splitlines()[-1].startswith("FAILED: ")


def test_missing_files_are_named_and_nothing_breaks(image: TinyImage) -> None:
    for artefact in image.manifest.artefacts:
        (image.directory / artefact.name).unlink()
    text = verify_lines(image)
    for artefact in image.manifest.artefacts:
        assert f"{artefact.name}: expected a file with SHA-256 {artefact.sha256}, found nothing" in text


@pytest.mark.parametrize("size", [0, 100])
def test_files_cut_off_are_named_and_nothing_breaks(image: TinyImage, size: int) -> None:
    for artefact in image.manifest.artefacts:
        os.truncate(image.directory / artefact.name, size)
    text = verify_lines(image)
    for artefact in image.manifest.artefacts:
        assert f"{artefact.name}: expected SHA-256" in text


def test_a_file_too_many_is_named(image: TinyImage) -> None:
    (image.directory / "folder").mkdir()
    (image.directory / "folder/extra").touch()
    (image.directory / ".hidden").symlink_to("nowhere")
    found = digest_findings(image)
    assert sorted(line.split(":")[0] for line in found) == [".hidden", "folder/extra"]


def test_a_link_is_no_artefact(image: TinyImage, tmp_path: Path) -> None:
    shutil.move(image.path("root"), tmp_path / "root")
    image.path("root").symlink_to(tmp_path / "root")
    text = verify_lines(image)
    assert f"{image.path('root').name}: expected a file" in text
    assert "found a symbolic link" in text


def test_another_release_key_is_refused(intact: TinyImage, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "other", development=True)
    report = verify(intact.directory, other.release_public_key, intact.tools)
    assert [check.name for check in report.checks if check.findings] == [
        f"signature of SHA256SUMS by release key {other.fingerprints.release}",
        "public keys against the manifest",
    ]


def test_a_missing_signature_is_a_finding(image: TinyImage) -> None:
    (image.directory / "SHA256SUMS.minisig").unlink()
    assert "SHA256SUMS.minisig: no such file" in str(signature_findings(image)[0])


def test_a_missing_list_of_digests_ends_verification(image: TinyImage) -> None:
    (image.directory / "SHA256SUMS").unlink()
    text = verify_lines(image)
    assert "cannot read SHA256SUMS" in text
    assert text.splitlines()[-1].startswith("FAILED: ")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": 2}', "\ufffd" * 10, "[" * 100_000])
def test_what_is_not_a_manifest_is_a_finding(image: TinyImage, content: str) -> None:
    (image.directory / "manifest.json").write_text(content)
    text = verify_lines(image)
    assert "WRONG  manifest (nothing behind it was checked)" in text


def test_a_manifest_that_lies_about_a_file_is_named(image: TinyImage) -> None:
    artefacts = tuple(
        replace(each, sha256="0" * 64, size=1) if each.role == "kernel" else each
        for each in image.manifest.artefacts
    )
    text = verify_lines(image.describe(replace(image.manifest, artefacts=artefacts)))
    name = image.path("kernel").name
    assert f"manifest.json, {name}: expected SHA-256" in text
    assert f"{name}: expected 1 bytes" in text


def test_a_manifest_that_leaves_out_a_file_is_named(image: TinyImage) -> None:
    artefacts = tuple(each for each in image.manifest.artefacts if each.role != "kernel")
    text = verify_lines(image.describe(replace(image.manifest, artefacts=artefacts)))
    assert f"{image.path('kernel').name}: expected to be listed in SHA256SUMS and manifest.json" in text
    assert "manifest.json: expected an artefact with the role kernel, found none" in text


def test_a_key_that_is_none_is_an_error(intact: TinyImage, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="cannot read"):
        verify(intact.directory, tmp_path / "missing.pub", intact.tools)
    with pytest.raises(ClusterError, match="not a minisign public key"):
        verify(intact.directory, intact.path("pcr-public-key"), intact.tools)
    with pytest.raises(ClusterError, match="there is no folder"):
        verify(tmp_path / "missing", intact.keys.release_public_key, intact.tools)
