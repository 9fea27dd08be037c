# SPDX-License-Identifier: Apache-2.0
"""SHA256SUMS: sha256sum reads it, and it cannot lead out of its folder."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from image.checksums import encode_checksums, hash_file, hash_range, parse_checksums, write_checksums

DIGEST = "0" * 64


def test_sha256sum_accepts_it_and_notices_a_change(tmp_path: Path) -> None:
    for name in ("b", "a", "with space"):
        (tmp_path / name).write_text(name)
    target = write_checksums(tmp_path, ["b", "with space", "a"])
    assert list(parse_checksums(target.read_text(), "x")) == ["a", "b", "with space"]
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / "a").write_text("b")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    "name",
    ["../file", "/etc/passwd", "a/../../b", "a//b", "./a", "..", "", "a\\nb", "a\tb", "a\x7f", " a", "a/"],
)
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="line 1"):
        parse_checksums(f"{DIGEST}  {name}\n", "SHA256SUMS")
    with pytest.raises(ClusterError):
        encode_checksums({name: DIGEST})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{DIGEST}  a",
        f"{DIGEST} a\n",
        f"{DIGEST} *a\n",
        f"{DIGEST[1:]}  a\n",
        f"{'A' * 64}  a\n",
        f"{DIGEST}  a\r\n",
        f"{DIGEST}  a\n\n",
        f"{DIGEST}  a\n{DIGEST}  a\n",
    ],
)
def test_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="SHA256SUMS"):
        parse_checksums(text, "SHA256SUMS")


@given(st.text(max_size=200))
def test_any_text_is_a_list_or_an_error(text: str) -> None:
    try:
        found = parse_checksums(text, "x")
    except ClusterError:
        return
    assert encode_checksums(found).count("\n") == len(found)


@given(st.dictionaries(st.from_regex(r"[a-z0-9._-]*[a-z0-9]", fullmatch=True), st.just(DIGEST), min_size=1))
def test_digests_come_back_as_they_were_written(digests: dict[str, str]) -> None:
    assert parse_checksums(encode_checksums(digests), "x") == digests


def test_a_range_is_hashed_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    data = bytes(range(256)) * 8192
    file.write_bytes(data)
    assert hash_file(file) == hashlib.sha256(data).hexdigest()
    assert hash_range(file, 1000, 1_500_000) == hashlib.sha256(data[1000:1_501_000]).hexdigest()
    assert hash_range(file, 2_000_000, 10**9) == hashlib.sha256(data[2_000_000:]).hexdigest()
    assert hash_range(file, 5, 0) == hashlib.sha256(b"").hexdigest()
