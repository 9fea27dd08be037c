# SPDX-License-Identifier: Apache-2.0
"""Release signatures: ours and stock minisign's mean the same, to each other, down to the bit."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import ClusterError
from image import minisign
from image.minisign import (
    SecretKey,
    encode_public_key,
    encode_secret_key,
    encode_signature,
    generate_key,
    parse_public_key,
    parse_secret_key,
    parse_signature,
    sign_file,
    verify_file,
)
from image.toolstree import ToolsTree

KEY = SecretKey(b"identify", bytes(range(32)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A signed file with signature and keys beside it."""
    file = tmp_path / "SHA256SUMS"
    file.write_text("content to be signed\n")
    (tmp_path / "SHA256SUMS.minisig").write_text(sign_file(file, KEY, timestamp=1_700_000_000))
    (tmp_path / "release.pub").write_text(encode_public_key(KEY.public))
    (tmp_path / "release.key").write_text(encode_secret_key(KEY, "secret key"))
    return file


def stock_accepts(tools: ToolsTree, file: Path) -> bool:
    """Whether stock minisign takes the signature."""
    command = tools.command(["minisign", "-V", "-m", file, "-p", file.with_name("release.pub")])
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def we_accept(file: Path) -> bool:
    """Whether we take the signature."""
    try:
        signature = parse_signature(file.with_name("SHA256SUMS.minisig").read_text(), "SHA256SUMS.minisig")
        verify_file(file, signature, KEY.public)
    except ClusterError:
        return False
    return True


def test_stock_minisign_accepts_our_signature(file: Path, tools: ToolsTree) -> None:
    command = tools.command(["minisign", "-V", "-m", file, "-p", file.with_name("release.pub")])
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert "Signature and comment signature verified" in done.stdout
    assert "timestamp:1700000000\tfile:SHA256SUMS\thashed" in done.stdout
    assert we_accept(file)


def test_the_same_input_gives_the_same_signature(file: Path) -> None:
    assert sign_file(file, KEY, timestamp=5) == sign_file(file, KEY, timestamp=5)
    assert sign_file(file, KEY, timestamp=5) != sign_file(file, KEY, timestamp=6)


def test_we_accept_what_stock_minisign_signs_with_our_key(file: Path, tools: ToolsTree) -> None:
    file.with_name("SHA256SUMS.minisig").unlink()
    command = tools.command(["minisign", "-S", "-W", "-m", file, "-s", file.with_name("release.key")])
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert we_accept(file)


def test_we_read_the_keys_that_stock_minisign_makes(tmp_path: Path, tools: ToolsTree) -> None:
    public, secret = tmp_path / "stock.pub", tmp_path / "stock.key"
    command = tools.command(["minisign", "-G", "-W", "-p", public, "-s", secret])
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    key = parse_secret_key(secret.read_text(), "stock.key")
    assert key.public == parse_public_key(public.read_text(), "stock.pub")
    assert key.public.name in public.read_text()
    # The very file, but for the comment and the checksum, which stock minisign leaves empty.
    lines = encode_secret_key(key, "").splitlines()[1], secret.read_text().splitlines()[1]
    assert len(lines[0]) == len(lines[1])
    assert lines[0][:168] == lines[1][:168]


@pytest.mark.parametrize("what", ["file", "signature", "trusted comment", "global signature"])
def test_a_changed_byte_is_refused_by_us_and_by_stock_minisign(
    file: Path, tools: ToolsTree, what: str
) -> None:
    assert stock_accepts(tools, file)
    signature = file.with_name("SHA256SUMS.minisig")
    if what == "file":
        file.write_text("Content to be signed\n")
    else:
        number = {"signature": 1, "trusted comment": 2, "global signature": 3}[what]
        lines = signature.read_text().splitlines(keepends=True)
        # Past the kind and the key's identifier, and past "trusted comment: ".
        place = 40
        changed = "B" if lines[number][place] == "A" else "A"
        lines[number] = lines[number][:place] + changed + lines[number][place + 1 :]
        signature.write_text("".join(lines))
    assert not we_accept(file)
    assert not stock_accepts(tools, file)


def test_a_signature_by_another_key_is_refused_with_its_name(file: Path) -> None:
    other = generate_key()
    signature = parse_signature(sign_file(file, other, timestamp=1), "x")
    with pytest.raises(ClusterError, match=f"is signed with key {other.public.name}, not {KEY.public.name}"):
        verify_file(file, signature, KEY.public)


def test_a_signature_under_a_stolen_name_is_refused(file: Path) -> None:
    other = SecretKey(KEY.identifier, generate_key().seed)
    with pytest.raises(ClusterError, match="is not valid"):
        verify_file(file, parse_signature(sign_file(file, other, timestamp=1), "x"), KEY.public)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_bit_of_a_signature_file_goes_unseen(file: Path, place: int, bit: int) -> None:
    whole = file.with_name("SHA256SUMS.minisig").read_bytes()
    data = bytearray(whole)
    data[place % len(data)] ^= 1 << bit
    try:
        signature = parse_signature(data.decode(), "x")
        verify_file(file, signature, KEY.public)
    except (ClusterError, UnicodeDecodeError):
        return
    # Nothing protects the first line: whoever verifies must look at it.
    assert signature.untrusted_comment != parse_signature(whole.decode(), "x").untrusted_comment


@given(st.text(max_size=400))
def test_any_text_is_a_signature_or_an_error(text: str) -> None:
    for parse in (parse_signature, parse_public_key, parse_secret_key):
        with pytest.raises(ClusterError):
            parse(text, "name")


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32))
@settings(max_examples=20, deadline=None)
def test_keys_come_back_as_they_were_written(identifier: bytes, seed: bytes) -> None:
    key = SecretKey(identifier, seed)
    assert parse_secret_key(encode_secret_key(key, "comment"), "x") == key
    assert parse_public_key(encode_public_key(key.public, "comment"), "x") == key.public
    assert parse_public_key(encode_public_key(key.public).splitlines()[1], "x") == key.public


def test_a_signature_comes_back_as_it_was_written(file: Path) -> None:
    text = sign_file(file, KEY, timestamp=1)
    assert encode_signature(parse_signature(text, "x")) == text


def test_a_secret_key_never_shows_itself() -> None:
    assert KEY.seed.hex() not in repr(KEY)
    assert repr(KEY.seed) not in repr(KEY)


def test_a_damaged_secret_key_is_refused() -> None:
    text = encode_secret_key(KEY, "secret key")
    line = text.splitlines()[1]
    for place in (80, 120, 160, 200):
        changed = line[:place] + ("B" if line[place] == "A" else "A") + line[place + 1 :]
        with pytest.raises(ClusterError, match="is damaged"):
            parse_secret_key(text.replace(line, changed), "name")


def test_a_secret_key_with_a_password_is_refused_with_a_remedy(file: Path) -> None:
    data = bytearray(minisign._decode(encode_secret_key(KEY, "x").splitlines()[1]))
    data[2:4] = b"Sc"
    text = f"untrusted comment: x\n{minisign._encode(bytes(data))}\n"
    with pytest.raises(ClusterError, match="has a password") as caught:
        parse_secret_key(text, "name")
    assert "minisign -C -W" in caught.value.hint


def test_a_file_that_is_no_key_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="cannot read"):
        minisign.read_key_text(tmp_path / "missing")
    with pytest.raises(ClusterError, match="is a directory"):
        minisign.read_key_text(tmp_path)
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    with pytest.raises(ClusterError, match="too large"):
        minisign.read_key_text(tmp_path / "large")
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(ClusterError, match="not a text file"):
        minisign.read_key_text(tmp_path / "binary")


def test_a_file_name_cannot_smuggle_in_a_comment(tmp_path: Path) -> None:
    file = tmp_path / "a\ntrusted comment: timestamp:0"
    file.touch()
    with pytest.raises(ClusterError, match="control characters"):
        sign_file(file, KEY, timestamp=1)
