# SPDX-License-Identifier: Apache-2.0
"""A damaged, foreign or open identity file is refused by name, and never overwritten."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import files, keystore
from agent.errors import ClusterError
from agent.identity_file import StoredIdentity, decode, encode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identity.json"


def refuse(path: Path, what: str) -> ClusterError:
    """Check that the file is refused for the reason `what`, that the error names it, and that it stays."""
    before = path.read_bytes()
    with pytest.raises(ClusterError, match=what) as caught:
        keystore.load(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    with pytest.raises(ClusterError, match="file exists"):
        keystore.make(path, tpm=None)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    return caught.value


def test_no_file_is_no_identity(path: Path) -> None:
    assert keystore.load(path) is None


def test_what_was_made_is_what_is_loaded(path: Path) -> None:
    made = keystore.make(path, tpm=None)
    assert keystore.load(path) == made
    assert keystore.open_seed(made, path, tpm=None) == made.secret


def test_the_file_is_for_its_owner_only_whatever_the_umask(path: Path) -> None:
    old = os.umask(0)
    try:
        keystore.make(path, tpm=None)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_machines_never_make_the_same_key(tmp_path: Path) -> None:
    made = [keystore.make(tmp_path / str(number), tpm=None) for number in range(20)]
    assert len({stored.identity.node_id for stored in made}) == 20


def test_the_secret_is_not_in_the_printed_form(path: Path) -> None:
    stored = keystore.make(path, tpm=None)
    for text in (repr(stored), str(stored), f"{[stored]}"):
        assert repr(stored.secret) not in text
        assert "secret" not in text


def test_every_truncation_is_refused(path: Path) -> None:
    whole = encode(keystore.make(path, tpm=None))
    for length in range(len(whole) - 1):  # without its last newline the file is complete
        with pytest.raises(ClusterError, match="identity of this node is damaged"):
            decode(whole[:length], str(path))


def test_no_flipped_bit_gives_another_identity(path: Path) -> None:
    stored = keystore.make(path, tpm=None)
    whole = encode(stored)
    for position in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            try:
                assert decode(bytes(damaged), str(path)) == stored
            except ClusterError:
                continue


def test_a_file_of_zeros_is_refused_as_empty(path: Path) -> None:
    path.write_bytes(bytes(4096))
    path.chmod(0o600)
    refuse(path, "it is empty")


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda c: c.pop("secret"), "missing or unknown keys: secret"),
        (lambda c: c.update(colour="red"), "missing or unknown keys: colour"),
        (lambda c: c.update(version=2), "format version 2 is newer than this image"),
        (lambda c: c.update(version=0), "its version is '0' where 1 is expected"),
        (lambda c: c.update(version=True), "its version is 'True'"),
        (lambda c: c.update(version="1"), "its version is '1'"),
        (lambda c: c.update(protection="rot13"), "protection must be none or tpm2"),
        (lambda c: c.update(protection=["none"]), "protection must be none or tpm2"),
        (lambda c: c.update(node_id=7), "must be strings"),
        (lambda c: c.update(node_id="../../etc/shadow"), "node_id is not a node ID"),
        (lambda c: c.update(secret="AAAA"), "the seed has 3 bytes where 32 are expected"),
        (lambda c: c.update(secret=c["secret"][:-4] + "é==="), "secret is not base64"),
        (lambda c: c.update(secret="A" * 43 + "="), "the private key does not belong to the node ID"),
        (lambda c: c.update(protection="tpm2", secret=""), "secret is empty"),
    ],
)
def test_each_wrong_value_is_named(path: Path, change: Change, what: str) -> None:
    content = json.loads(encode(keystore.make(path, tpm=None)))
    change(content)
    path.write_text(json.dumps(content))
    refuse(path, what)


@pytest.mark.parametrize("data", [b"[]", b"null", b"{", b"\xff\xfe", b"[" * 60_000, b"{}" * 40_000])
def test_what_is_no_json_object_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)
    refuse(path, "damaged: it is not")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_file_that_others_can_open_is_refused(path: Path, mode: int) -> None:
    keystore.make(path, tpm=None)
    path.chmod(mode)
    assert "chmod 0600" in refuse(path, "is open to other users").hint


def test_a_file_of_another_owner_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keystore.make(path, tpm=None)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)  # giving the file away would take root
    refuse(path, f"belongs to user {owner}, not to the user {owner + 1}")


def test_a_link_a_pipe_and_a_folder_are_refused(path: Path, tmp_path: Path) -> None:
    keystore.make(path, tpm=None)
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(path)
    os.mkfifo(pipe, 0o600)
    for wrong in (link, pipe, tmp_path):
        with pytest.raises(ClusterError, match="is not a regular file"):
            keystore.load(wrong)


def test_of_two_that_make_an_identity_at_once_one_wins_and_the_other_is_told(path: Path) -> None:
    first = keystore.make(path, tpm=None)
    with pytest.raises(ClusterError, match="file exists"):
        keystore.make(path, tpm=None)
    assert keystore.load(path) == first


def test_a_full_disk_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda _fd, data: real_write(full, data))
    with pytest.raises(ClusterError, match=r"cannot write .*identity\.json: no space left on device"):
        keystore.make(path, tpm=None)
    os.close(full)
    assert list(path.parent.iterdir()) == []


def test_two_writers_of_one_folder_exclude_each_other(tmp_path: Path) -> None:
    with (
        files.lock(tmp_path),
        pytest.raises(ClusterError, match="another program is setting up"),
        files.lock(tmp_path),
    ):
        pass
    with files.lock(tmp_path):
        pass


def test_a_sealed_identity_shows_its_names_without_the_tpm(path: Path) -> None:
    stored = keystore.make(path, tpm=None)
    sealed = StoredIdentity(stored.identity, "tpm2", b"blob")
    assert decode(encode(sealed), str(path)) == sealed
    with pytest.raises(ClusterError, match="sealed to a TPM2, and this machine has none"):
        keystore.open_seed(sealed, path, tpm=None)
