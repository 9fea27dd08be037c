# SPDX-License-Identifier: Apache-2.0
"""The packages of an image: dpkg's record joined with apt's lists, quickly and without guessing."""

import time
from pathlib import Path

import pytest

from agent.errors import ClusterError
from image.manifest import Package
from image.packages import Installed, collect_packages, find_records, join_packages, read_installed

STATUS = """\
Package: bash
Essential: yes
Status: install ok installed
Architecture: amd64
Multi-Arch: foreign
Version: 5.2.37-2+b5
Source: bash (5.2.37-2)
Conffiles:
 /etc/bash.bashrc 89269e1298235f1b12b4c16e4065ad0d
Description: GNU Bourne Again SHell
 Package: not-a-field
 Bash is an sh-compatible command language interpreter.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: adduser
Status: install ok installed
Architecture: all
Version: 3.152

"""
INDEX = """\
Package: adduser
Version: 3.152
Architecture: all
Filename: pool/main/a/adduser/adduser_3.152_all.deb
Size: 191180
SHA256: {a}

Package: bash
Source: bash (5.2.37-2)
Version: 5.2.37-2+b5
Architecture: amd64
Filename: pool/main/b/bash/bash_5.2.37-2+b5_amd64.deb
Size: 1512780
SHA256: {b}

Package: bash-builtins
Version: 5.2.37-2+b5
Architecture: amd64
Filename: pool/main/b/bash/bash-builtins_5.2.37-2+b5_amd64.deb
Size: 1
SHA256: {c}
""".format(a="a" * 64, b="b" * 64, c="c" * 64)
ADDUSER = Installed("adduser", "3.152", "all", "adduser", "3.152")
BASH = Installed("bash", "5.2.37-2+b5", "amd64", "bash", "5.2.37-2")


def test_what_is_installed_is_read_from_dpkg() -> None:
    assert read_installed(STATUS) == (ADDUSER, BASH)
    assert read_installed("") == ()


@pytest.mark.parametrize(
    "state", ["install ok half-configured", "install reinstreq installed", "install ok unpacked", ""]
)
def test_a_half_installed_package_is_an_error(state: str) -> None:
    with pytest.raises(ClusterError, match="package adduser is not fully installed"):
        read_installed(
            STATUS.replace(
                "Status: install ok installed\nArchitecture: all", f"Status: {state}\nArchitecture: all"
            )
        )


def test_a_record_without_a_version_is_an_error() -> None:
    with pytest.raises(ClusterError, match="the record of package adduser is damaged"):
        read_installed(STATUS.replace("Version: 3.152\n", ""))


def test_each_installed_package_gets_its_record() -> None:
    records = find_records(INDEX, [ADDUSER, BASH])
    assert join_packages([BASH, ADDUSER], records) == (
        Package(
            *("bash", "5.2.37-2+b5", "amd64", "bash", "5.2.37-2"),
            *("pool/main/b/bash/bash_5.2.37-2+b5_amd64.deb", 1512780, "b" * 64),
        ),
        Package(
            *("adduser", "3.152", "all", "adduser", "3.152"),
            *("pool/main/a/adduser/adduser_3.152_all.deb", 191180, "a" * 64),
        ),
    )


def test_another_version_or_architecture_is_not_taken_for_it() -> None:
    assert find_records(INDEX.replace("Version: 3.152", "Version: 3.153"), [ADDUSER]) == {}
    assert find_records(INDEX.replace("Architecture: all", "Architecture: i386"), [ADDUSER]) == {}


def test_a_local_package_has_no_record() -> None:
    assert find_records(INDEX.replace("pool/main/a/adduser/", "./"), [ADDUSER]) == {}


def test_packages_without_a_record_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "archive_main_Packages").write_text("Package: other\nVersion: 1\n")
    with pytest.raises(ClusterError, match=r"no package list knows adduser 3.152, bash 5.2.37-2\+b5"):
        collect_packages([ADDUSER, BASH], tmp_path)
    (tmp_path / "archive_main_Packages").unlink()
    with pytest.raises(ClusterError, match="has no package lists"):
        collect_packages([ADDUSER], tmp_path)


def test_several_lists_are_searched(tmp_path: Path) -> None:
    first, second = INDEX.split("\n\n", 1)
    (tmp_path / "a_Packages").write_text(first + "\n\n")
    (tmp_path / "b_Packages").write_text(second)
    assert [package.name for package in collect_packages([ADDUSER, BASH], tmp_path)] == ["adduser", "bash"]


def test_a_list_as_large_as_the_real_one_is_searched_in_two_seconds(tmp_path: Path) -> None:
    stanza = (
        "Package: example{0}\nVersion: 1\nArchitecture: amd64\nDescription: {1}\n"
        "Filename: pool/e.deb\nSize: 1\nSHA256: {2}"
    )
    filling = "words and more words " * 30
    text = "\n\n".join(stanza.format(number, filling, "d" * 64) for number in range(70_000))
    assert len(text) > 50_000_000
    (tmp_path / "a_Packages").write_text(f"{text}\n\n{INDEX}")
    wanted = [
        ADDUSER,
        *(Installed(f"example{number}", "1", "amd64", "", "") for number in range(0, 70_000, 200)),
    ]
    begun = time.process_time()
    assert len(collect_packages(wanted, tmp_path)) == 351
    assert time.process_time() - begun < 2
