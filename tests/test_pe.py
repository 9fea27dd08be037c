# SPDX-License-Identifier: Apache-2.0
"""PE files: sections are found, signatures fall off cleanly, and what is none is refused."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from image.keys import make_keys
from image.pe import drop_signature, read_sections
from image.toolstree import ToolsTree


@pytest.fixture
def stub(tools: ToolsTree) -> bytes:
    """systemd's stub, the program that kernel images begin with."""
    return (tools.root / "usr/lib/systemd/boot/efi/linuxx64.efi.stub").read_bytes()


def test_sections_are_read_without_padding(stub: bytes) -> None:
    sections = read_sections(stub, "stub")
    assert {".text", ".sbat", ".sdmagic"} <= set(sections)
    assert sections[".sdmagic"].rstrip(b"\0").startswith(b"#### LoaderInfo: systemd-stub 25")
    assert sections[".sbat"].startswith(b"sbat,1,")


def test_signing_changes_nothing_but_the_signature(stub: bytes, tmp_path: Path, tools: ToolsTree) -> None:
    (tmp_path / "stub").write_bytes(stub)
    bare = []
    for name in ("one", "two"):
        keys = make_keys(tmp_path / name, development=True)
        pair: list[str | Path] = ["--key", keys.secure_boot_key, "--cert", keys.secure_boot_certificate]
        command = tools.command(["sbsign", *pair, "--output", tmp_path / "signed", tmp_path / "stub"])
        subprocess.run(command, capture_output=True, check=True)
        signed = (tmp_path / "signed").read_bytes()
        assert len(signed) > len(stub)
        assert read_sections(signed, "signed") == read_sections(stub, "stub")
        bare.append(drop_signature(signed, "signed"))
    assert bare[0] == bare[1]
    # A signer fills the file up to a multiple of 8 bytes.
    assert bare[0].removesuffix(bytes(len(bare[0]) - len(stub))) == drop_signature(stub, "stub")


def test_a_changed_program_differs_without_its_signature_too(stub: bytes) -> None:
    changed = bytearray(stub)
    changed[-1000] ^= 1
    assert drop_signature(bytes(changed), "x") != drop_signature(stub, "x")


def test_a_program_cut_off_anywhere_is_refused(stub: bytes) -> None:
    last = max(stub.rfind(read_sections(stub, "stub")[name]) for name in (".text", ".sbat", ".reloc"))
    for size in (0, 1, 64, 100, 300, 1000, last):
        with pytest.raises(ClusterError, match="name is not a whole PE file"):
            read_sections(stub[:size], "name")


@given(st.binary(max_size=300), st.integers(0, 80))
def test_any_bytes_are_a_program_or_an_error(data: bytes, start: int) -> None:
    for content in (
        data,
        b"MZ" + bytes(58) + start.to_bytes(4, "little") + data,
        b"MZ" + data[:start] + b"PE\0\0",
    ):
        try:
            read_sections(content, "name")
            drop_signature(content, "name")
        except ClusterError:
            continue
