# SPDX-License-Identifier: Apache-2.0
"""Signing keys are made once, closed to others, and checked before anything is signed with them."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from agent.errors import ClusterError
from image.certificates import certify, encode_private
from image.keys import PURPOSES, KeySet, describe_keys, load_keys, load_release_key, make_keys
from image.toolstree import ToolsTree

SECRETS = ("secureboot.key", "pcr.key", "release.key")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> KeySet:
    """A new set of keys that nobody may change; making one takes some tenths of a second."""
    return make_keys(tmp_path_factory.mktemp("made") / "keys", development=False)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> KeySet:
    """Another one."""
    return make_keys(tmp_path_factory.mktemp("other") / "keys", development=True)


@pytest.fixture
def keys(made: KeySet, tmp_path: Path) -> KeySet:
    """A copy of a set of keys, to be spoilt."""
    return replace(made, directory=shutil.copytree(made.directory, tmp_path / "keys"))


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, password: bytes = b""
) -> bytes:
    """A private key as a file has it."""
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def test_secrets_are_closed_to_others_and_public_parts_are_not(keys: KeySet) -> None:
    modes = {file.name: file.stat().st_mode & 0o777 for file in keys.directory.iterdir()}
    assert modes == {name: 0o600 if name in SECRETS else 0o644 for name in (*PURPOSES, "README")}
    assert keys.directory.stat().st_mode & 0o777 == 0o700


def test_a_set_of_keys_is_what_was_made(keys: KeySet) -> None:
    again = load_keys(keys.directory)
    assert again == keys
    assert not again.development
    assert load_release_key(keys).public.name == keys.fingerprints.release
    assert len(keys.fingerprint) == 64


def test_two_sets_of_keys_have_nothing_in_common(keys: KeySet, other: KeySet) -> None:
    assert other.fingerprint != keys.fingerprint
    for name in PURPOSES:
        assert (other.directory / name).read_bytes() != (keys.directory / name).read_bytes()


def test_development_keys_say_so(other: KeySet) -> None:
    assert other.development
    assert load_keys(other.directory).development
    assert "DEVELOPMENT" in other.release_public_key.read_text()
    assert "Never release" in describe_keys(other)


def test_the_readme_and_the_description_say_what_each_file_is_for(keys: KeySet) -> None:
    readme = (keys.directory / "README").read_text()
    for name, purpose in PURPOSES.items():
        assert f"{name}: {purpose}\n" in readme
        assert name in describe_keys(keys)
    for secret in SECRETS:
        content = (keys.directory / secret).read_text().splitlines()[1]
        assert content not in describe_keys(keys)
        assert content not in readme


def test_existing_keys_are_never_overwritten(keys: KeySet) -> None:
    before = {file: file.read_bytes() for file in keys.directory.iterdir()}
    with pytest.raises(ClusterError, match="never overwritten"):
        make_keys(keys.directory, development=True)
    assert {file: file.read_bytes() for file in keys.directory.iterdir()} == before


def test_a_folder_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note").touch()
    with pytest.raises(ClusterError, match="is not empty"):
        make_keys(tmp_path, development=False)
    with pytest.raises(ClusterError, match="is not a folder"):
        make_keys(tmp_path / "note", development=False)
    assert [file.name for file in tmp_path.iterdir()] == ["note"]


def test_keys_that_cannot_be_written_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClusterError, match="cannot make keys in"):
        make_keys(tmp_path / "file/keys", development=False)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    make_keys(tmp_path / "keys", development=False)
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]


@pytest.mark.parametrize("name", list(PURPOSES))
def test_a_missing_or_garbled_file_is_named(keys: KeySet, name: str) -> None:
    file = keys.directory / name
    os.truncate(file, 60)
    with pytest.raises(ClusterError, match=name) as caught:
        load_keys(keys.directory)
    assert caught.value.hint
    file.write_bytes(b"\xff\0")
    with pytest.raises(ClusterError, match=name):
        load_keys(keys.directory)
    file.unlink()
    with pytest.raises(ClusterError, match=f"{name} is missing"):
        load_keys(keys.directory)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_others_can_read_is_refused(keys: KeySet, name: str) -> None:
    for mode in (0o640, 0o604, 0o660):
        (keys.directory / name).chmod(mode)
        with pytest.raises(ClusterError, match=f"{name} can be read by other users"):
            load_keys(keys.directory)


@pytest.mark.parametrize("name", ["secureboot.key", "pcr.key"])
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: pem(ec.generate_private_key(ec.SECP256R1())), "is not an RSA key"),
        (lambda: pem(ed25519.Ed25519PrivateKey.generate()), "is not an RSA key"),
        (lambda: pem(rsa.generate_private_key(65537, 1024)), "has 1024 bits, fewer than 2048"),
        (lambda: pem(rsa.generate_private_key(65537, 2048), b"word"), "has a passphrase"),
        (lambda: pem(rsa.generate_private_key(65537, 2048)), "does not belong to"),
    ],
)
def test_a_key_of_the_wrong_kind_is_refused(
    keys: KeySet, name: str, make: Callable[[], bytes], complaint: str
) -> None:
    (keys.directory / name).write_bytes(make())
    with pytest.raises(ClusterError, match=complaint):
        load_keys(keys.directory)


def test_keys_of_two_sets_do_not_go_together(keys: KeySet, other: KeySet) -> None:
    for name in ("pcr.pub", "release.pub", "secureboot.crt", "pcr.crt"):
        mine = (keys.directory / name).read_bytes()
        (keys.directory / name).write_bytes((other.directory / name).read_bytes())
        with pytest.raises(ClusterError, match=rf"{name} does not belong to"):
            load_keys(keys.directory)
        (keys.directory / name).write_bytes(mine)
    assert load_keys(keys.directory) == keys


def test_a_larger_key_of_one_s_own_is_taken(keys: KeySet) -> None:
    key = rsa.generate_private_key(65537, 3072)
    keys.secure_boot_key.write_bytes(encode_private(key))
    keys.secure_boot_certificate.write_bytes(certify(key, "example"))
    assert load_keys(keys.directory).fingerprints.secure_boot != keys.fingerprints.secure_boot


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="there is no folder") as caught:
        load_keys(tmp_path / "keys")
    assert "keys new" in caught.value.hint


def test_systemd_finds_that_keys_and_certificates_belong_together(keys: KeySet, tools: ToolsTree) -> None:
    for key, certificate in (
        (keys.secure_boot_key, keys.secure_boot_certificate),
        (keys.pcr_key, keys.pcr_certificate),
    ):
        program = "/usr/lib/systemd/systemd-keyutil"
        command = tools.command([program, "validate", f"--private-key={key}", f"--certificate={certificate}"])
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    public = subprocess.run(
        tools.command(["/usr/lib/systemd/systemd-keyutil", "public", f"--private-key={keys.pcr_key}"]),
        capture_output=True,
        check=True,
    )
    assert public.stdout == keys.pcr_public_key.read_bytes()


def test_a_certificate_is_valid_whatever_the_clock_says(keys: KeySet, tools: ToolsTree) -> None:
    for date in ("2020-01-02", "2049-12-30"):
        command = ["openssl", "verify", "-partial_chain", "-attime", str(_seconds(date)), "-trusted"]
        certificate = keys.secure_boot_certificate
        done = subprocess.run(
            tools.command([*command, certificate, certificate]), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr


def _seconds(date: str) -> int:
    return int(subprocess.run(["date", "-u", "-d", date, "+%s"], capture_output=True, check=True).stdout)
