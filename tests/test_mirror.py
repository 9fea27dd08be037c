# SPDX-License-Identifier: Apache-2.0
"""The Debian mirror comes from the machine, or from the user."""

import json
from pathlib import Path

import pytest

from agent.errors import ClusterError
from image.mirror import Mirror, find_mirror, read_index_targets, write_sources

LISTING = """\
Vendor Packages|https://packages.example.org/vendor/
Debian|http://mirror.example.org/debian/
Debian|http://second.example.org/debian/
Debian-Security|http://mirror.example.org/debian-security/
"""


def test_the_first_debian_archive_of_the_machine_is_taken() -> None:
    assert read_index_targets(LISTING) == Mirror(
        "http://mirror.example.org/debian", "http://mirror.example.org/debian-security"
    )


@pytest.mark.parametrize("text", ["", "nonsense", "Debian|", "Debian|cdrom:[disc]/", "Debian|gopher://x/"])
def test_a_machine_without_a_usable_mirror_has_none(text: str) -> None:
    assert read_index_targets(text) == Mirror()


def test_the_users_mirror_comes_first() -> None:
    assert find_mirror("http://local.example.org/debian/").archive == "http://local.example.org/debian"


@pytest.mark.parametrize("url", ["local.example.org", "ssh://local.example.org/debian", ""])
def test_what_is_no_url_of_a_mirror_is_refused(url: str) -> None:
    with pytest.raises(ClusterError, match="is not the URL of a mirror"):
        find_mirror(url)


def test_sources_name_our_release_signed_by_debians_keys(tmp_path: Path) -> None:
    write_sources(
        Mirror("http://mirror.example.org/debian", "http://mirror.example.org/security"), tmp_path / "a/b"
    )
    text = (tmp_path / "a/b").read_text()
    assert "URIs: http://mirror.example.org/debian\nSuites: trixie trixie-updates\n" in text
    assert "URIs: http://mirror.example.org/security\nSuites: trixie-security\n" in text
    assert text.count("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg") == 2


def test_without_a_mirror_mkosis_own_default_is_left(tmp_path: Path) -> None:
    write_sources(Mirror(), tmp_path / "mkosi.sources")
    assert not (tmp_path / "mkosi.sources").exists()


def test_apts_answer_is_kept_as_long_as_its_configuration_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = find_mirror(None, tmp_path / "mirror.json")
    kept = json.loads((tmp_path / "mirror.json").read_text())
    (tmp_path / "mirror.json").write_text(json.dumps(kept | {"archive": "http://kept.example.org/debian"}))
    assert find_mirror(None, tmp_path / "mirror.json").archive == "http://kept.example.org/debian"
    (tmp_path / "apt.conf").touch()
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    assert find_mirror(None, tmp_path / "mirror.json") == asked
    (tmp_path / "mirror.json").write_text("damaged")
    assert find_mirror(None, tmp_path / "mirror.json") == asked
