# SPDX-License-Identifier: Apache-2.0
"""The endorsement key: the real tpm2-tools against a real software TPM."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import endorsement
from agent.errors import ClusterError
from agent.run import run
from image.toolstree import ToolsTree
from tests.softwaretpm import SoftwareTpm


@pytest.fixture
def tpm(tools: ToolsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A TPM, and tpm2-tools of the tools tree where the image would have its own."""
    monkeypatch.setattr(endorsement, "run", lambda argv, **options: run(tools.command(argv), **options))
    software = SoftwareTpm(tools, tmp_path / "tpm")
    yield software.device
    software.stop()


def test_the_key_is_the_same_every_time_and_what_openssl_hashes(
    tpm: str, tmp_path: Path, tools: ToolsTree
) -> None:
    path = tmp_path / "endorsement.der"
    assert endorsement.load(path) is None
    made = endorsement.keep(path, tpm, tmp_path)
    assert endorsement.load(path) == made
    path.unlink()
    assert endorsement.keep(path, tpm, tmp_path) == made
    told: list[str | Path] = ["openssl", "pkey", "-pubin", "-inform", "der", "-in", path, "-outform", "der"]
    der = subprocess.run(tools.command(told), capture_output=True, check=True).stdout
    assert hashlib.sha256(der).hexdigest() == made
    assert {entry.name for entry in tmp_path.iterdir()} == {"tpm", path.name}


def test_a_key_that_the_maker_left_in_the_tpm_is_taken(tpm: str, tmp_path: Path, tools: ToolsTree) -> None:
    """Such a key may be of another template; here it is an elliptic one, so that it can be told apart."""
    usual = endorsement.keep(tmp_path / "usual.der", tpm, tmp_path)
    made = ["tpm2_createek", f"--ek-context={endorsement.PERSISTENT}", "--key-algorithm=ecc"]
    public = tmp_path / "public.der"
    made += [f"--public={public}", "--format=der", f"--tcti={tpm}"]
    subprocess.run(tools.command(made), check=True)
    found = endorsement.keep(tmp_path / "endorsement.der", tpm, tmp_path)
    assert found == hashlib.sha256(public.read_bytes()).hexdigest() != usual


def test_two_tpms_have_two_keys(tpm: str, tmp_path: Path, tools: ToolsTree) -> None:
    other = SoftwareTpm(tools, tmp_path / "other")
    try:
        theirs = endorsement.keep(tmp_path / "theirs.der", other.device, tmp_path)
    finally:
        other.stop()
    assert endorsement.keep(tmp_path / "ours.der", tpm, tmp_path) != theirs


def test_a_tpm_that_does_not_answer_leaves_nothing(
    tools: ToolsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endorsement, "run", lambda argv, **options: run(tools.command(argv), **options))
    with pytest.raises(ClusterError, match="failed") as caught:
        endorsement.keep(tmp_path / "endorsement.der", "/dev/no-such-tpm", tmp_path)
    assert "ek: entries" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no key", b"0" * (endorsement.MAX_BYTES + 1)])
def test_a_damaged_file_is_no_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "endorsement.der"
    path.write_bytes(content)
    assert endorsement.load(path) is None
