# SPDX-License-Identifier: Apache-2.0
"""Users as records of systemd's userdb: what is written, for whom it is readable, and what never is."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ClusterError
from agent.users.user import User
from agent.users.userdb import describe, read_local
from agent.users.userdb_folder import UserdbFolder
from tests.example_users import ALICE, BOB, HASH

LOCAL = read_local(
    "root:x:0:0:root:/root:/bin/bash\nqueue:x:990:990::/:/bin/sh\nbroken\n",
    "root:x:0:\nvideo:x:44:\nqueue:x:990:\nlab:x:5500:\n",
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (etc / "group").write_text("root:x:0:\nvideo:x:44:\n")
    return tmp_path


def make(place: Path) -> UserdbFolder:
    return UserdbFolder(place / "homes.conf", place / "userdb", place / "etc")


def record(place: Path, name: str) -> Any:  # noqa: ANN401  JSON
    return json.loads((place / "userdb" / name).read_text())


def test_a_user_is_found_by_name_and_number_with_its_groups(place: Path) -> None:
    assert make(place).write((ALICE, BOB))
    for name in ("alice.user", "1001.user"):
        found = record(place, name)
        assert (found["userName"], found["uid"], found["gid"]) == ("alice", 1001, 1001)
        assert (found["homeDirectory"], found["shell"]) == ("/home/alice", "/bin/bash")
        assert "privileged" not in found
    for name in ("alice.user-privileged", "1001.user-privileged"):
        privileged = record(place, name)["privileged"]
        assert privileged == {"hashedPassword": [HASH], "sshAuthorizedKeys": list(ALICE.ssh_keys)}
    assert record(place, "1002.user-privileged") == {"privileged": {}}
    assert record(place, "5000.group")["groupName"] == "physics"
    assert record(place, "alice.group")["gid"] == 1001
    there = {path.name for path in (place / "userdb").iterdir()}
    memberships = {name for name in there if name.endswith(".membership")}
    assert memberships == {"alice:physics.membership", "alice:video.membership", "bob:physics.membership"}
    homes = (place / "homes.conf").read_text().splitlines()
    assert homes == ["d /var/home/alice :0700 :1001 :1001 -", "d /var/home/bob :0700 :1002 :1002 -"]


def test_no_hash_is_in_a_file_that_others_can_read(place: Path) -> None:
    make(place).write((ALICE,))
    for path in (*(place / "userdb").iterdir(), place / "homes.conf"):
        if HASH in path.read_text():
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.name.endswith(".user-privileged")


def test_what_changes_is_written_and_what_goes_is_taken_away(place: Path) -> None:
    folder = make(place)
    folder.write((ALICE, BOB))
    before = (place / "userdb/bob.user").stat()
    changed = replace(ALICE, uid=1007, groups=(), password_hash=None)
    assert folder.write((changed, BOB))
    there = {path.name for path in (place / "userdb").iterdir()}
    assert {"1007.user", "1007.group", "physics.group", "bob:physics.membership"} <= there
    assert not {name for name in there if name.startswith(("1001.", "alice:"))}
    assert HASH not in (place / "userdb/alice.user-privileged").read_text()
    assert (place / "userdb/bob.user").stat() == before
    assert not folder.write((changed, BOB)), "nothing is to do"
    assert not folder.write((replace(changed, shell="/bin/sh"), BOB)), "all homes are there"
    assert not folder.write(())
    assert list((place / "userdb").iterdir()) == []


def test_another_writer_finds_what_an_earlier_one_left(place: Path) -> None:
    make(place).write((ALICE, BOB))
    (place / "userdb/.alice.user.new").write_text("interrupted")
    make(place).write((BOB,))
    left = {path.name for path in (place / "userdb").iterdir()}
    assert left == {
        *("bob.user", "1002.user", "bob.user-privileged", "1002.user-privileged"),
        *("bob.group", "1002.group", "physics.group", "5000.group", "bob:physics.membership"),
    }
    for path in (place / "userdb").iterdir():
        assert path.is_file(), path


def test_accounts_of_the_image_are_not_touched() -> None:
    users = [User("queue", 1001), User("eve", 5500), User("mallory", 1003, ("lab:5600", "x:990", "render"))]
    found = describe(users, LOCAL)
    assert {name for name in found.entries if name.endswith(".user")} == {"mallory.user", "1003.user"}
    assert not [name for name in found.entries if name.endswith(".membership")]
    assert {"lab.group", "x.group", "5600.group", "990.group"} & found.entries.keys() == set()
    assert len(found.left_out) == 5
    assert found.homes == "d /var/home/mallory :0700 :1003 :1003 -\n"


def test_a_folder_that_cannot_be_written_is_told(place: Path) -> None:
    (place / "userdb").write_text("")
    with pytest.raises(ClusterError, match="userdb"):
        make(place).write((BOB,))


def test_links_stay_in_the_folder(place: Path) -> None:
    make(place).write((ALICE, BOB))
    links = [path for path in (place / "userdb").iterdir() if path.is_symlink()]
    assert len(links) == 2 * 3 + 1
    assert all("/" not in os.readlink(path) for path in links)  # noqa: PTH115
