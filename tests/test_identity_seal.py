# SPDX-License-Identifier: Apache-2.0
"""The node key is sealed to the TPM: the real systemd-creds against a real software TPM."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent import keystore, seal
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.run import run
from image.toolstree import ToolsTree
from tests.softwaretpm import SoftwareTpm


@pytest.fixture
def tpm(tools: ToolsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A TPM, and systemd-creds of the tools tree where the image would have its own."""

    monkeypatch.setattr(seal, "run", lambda argv, **options: run(tools.command(argv), **options))
    software = SoftwareTpm(tools, tmp_path / "tpm")
    yield software.device
    software.stop()


def test_a_sealed_key_opens_on_its_machine_and_stands_nowhere_in_the_clear(tpm: str, tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    made = keystore.make(path, tpm=tpm)
    assert made.protection == "tpm2"
    loaded = keystore.load(path)
    assert loaded == made
    seed = keystore.open_seed(made, path, tpm=tpm)
    assert identity_of_seed(seed) == made.identity
    assert seed not in made.secret


def test_another_machine_cannot_open_it_and_leaves_it_alone(
    tpm: str, tmp_path: Path, tools: ToolsTree
) -> None:
    path = tmp_path / "identity.json"
    made = keystore.make(path, tpm=tpm)
    before = path.read_bytes()
    other = SoftwareTpm(tools, tmp_path / "other")
    try:
        with pytest.raises(ClusterError, match="failed") as caught:
            keystore.open_seed(made, path, tpm=other.device)
    finally:
        other.stop()
    assert "machine that sealed it" in caught.value.hint
    assert path.read_bytes() == before


def test_a_damaged_seal_is_refused(tpm: str, tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    made = keystore.make(path, tpm=tpm)
    middle = len(made.secret) // 2
    other = b"B" if made.secret[middle : middle + 1] != b"B" else b"C"
    damaged = made._replace(secret=made.secret[:middle] + other + made.secret[middle + 1 :])
    with pytest.raises(ClusterError, match="failed"):
        keystore.open_seed(damaged, path, tpm=tpm)


def test_a_seal_of_another_key_is_refused(tpm: str, tmp_path: Path) -> None:
    first = keystore.make(tmp_path / "first", tpm=tpm)
    second = keystore.make(tmp_path / "second", tpm=tpm)
    mixed = first._replace(secret=second.secret)
    with pytest.raises(ClusterError, match="private key does not belong to the node ID"):
        keystore.open_seed(mixed, tmp_path / "first", tpm=tpm)


def test_a_key_that_the_booted_image_could_not_open_is_never_stored(
    tpm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bound to a PCR key for which this boot has no signature: sealing works, opening does not."""
    public = generate_private_key(65537, 2048).public_key()
    pem = tmp_path / "pcr.pem"
    pem.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    monkeypatch.setattr(seal, "PCR_PUBLIC_KEY", pem)
    with pytest.raises(ClusterError, match="failed"):
        keystore.make(tmp_path / "identity.json", tpm=tpm)
    assert not (tmp_path / "identity.json").exists()


def test_a_tpm_that_does_not_answer_makes_no_identity(
    tools: ToolsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "run", lambda argv, **options: run(tools.command(argv), **options))
    with pytest.raises(ClusterError, match="failed") as caught:
        keystore.make(tmp_path / "identity.json", tpm="/dev/no-such-tpm")
    assert "identity.seal" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_policy_decides_whether_a_tpm_is_used() -> None:
    device = "/dev/tpmrm0"
    assert keystore.choose_tpm("auto", device) == device
    assert keystore.choose_tpm("auto", None) is None
    assert keystore.choose_tpm("none", device) is None
    assert keystore.choose_tpm("tpm2", device) == device
    with pytest.raises(ClusterError, match="this machine has no TPM2"):
        keystore.choose_tpm("tpm2", None)
