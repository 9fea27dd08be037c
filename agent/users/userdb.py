# SPDX-License-Identifier: Apache-2.0
"""The users of the cluster as static records of systemd's userdb. Pure.

Files of /run/userdb as nss-systemd(8) has them; the records are https://systemd.io/USER_RECORD and
https://systemd.io/GROUP_RECORD. Password hash and SSH keys are in the privileged part, which only root reads.
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent.users.user import User, cluster_groups

HOMES = "/var/home"


class Entry(NamedTuple):
    """A file with its content, or a link to another one."""

    content: bytes = b""
    mode: int = 0o644
    link: str | None = None


class Local(NamedTuple):
    """What the image's own accounts have taken."""

    users: Mapping[str, int]
    groups: Mapping[str, int]


class Described(NamedTuple):
    """The files by name, lines of tmpfiles.d(5) for the homes, and what had to be left out and why."""

    entries: Mapping[str, Entry]
    homes: str
    left_out: tuple[str, ...]


def describe(users: Iterable[User], local: Local) -> Described:
    """Return what to write for these users. Accounts of the image are never hidden or joined by others."""
    entries: dict[str, Entry] = {}
    homes, left_out = [], []
    taken_names = {*local.users, *local.groups}
    taken_ids = {*local.users.values(), *local.groups.values()}
    for user in sorted(users, key=lambda user: user.name):
        if user.name in taken_names or user.uid in taken_ids:
            left_out.append(f"user {user.name}: the image has an account with this name or number")
            continue
        entries |= _user(user) | _group(user.name, user.uid)
        homes.append(f"d {HOMES}/{user.name} :0700 :{user.uid} :{user.uid} -")
        for name, gid in cluster_groups(user):
            if name in taken_names or gid in taken_ids:
                left_out.append(f"group {name} of {user.name}: the image has one with this name or number")
                continue
            entries |= _group(name, gid) | _membership(user.name, name)
        for name in user.groups:
            if ":" not in name and name in local.groups:
                entries |= _membership(user.name, name)
            elif ":" not in name:
                left_out.append(f"group {name} of {user.name}: the image has none")
    return Described(entries, "".join(f"{line}\n" for line in homes), tuple(left_out))


def read_local(passwd: str, group: str) -> Local:
    """Return what stands in the files passwd(5) and group(5)."""
    return Local(_read(passwd), _read(group))


def _read(text: str) -> dict[str, int]:
    rows = (line.split(":") for line in text.splitlines())
    return {row[0]: int(row[2]) for row in rows if len(row) > 2 and row[2].isdigit()}


def _user(user: User) -> dict[str, Entry]:
    record = {
        "userName": user.name,
        "uid": user.uid,
        "gid": user.uid,
        "homeDirectory": f"/home/{user.name}",
        "shell": user.shell,
        "disposition": "regular",
    }
    privileged: dict[str, list[str]] = {}
    if user.password_hash:
        privileged["hashedPassword"] = [user.password_hash]
    if user.ssh_keys:
        privileged["sshAuthorizedKeys"] = list(user.ssh_keys)
    secret = _json({"privileged": privileged})
    return {
        f"{user.name}.user-privileged": Entry(secret, 0o600),
        f"{user.uid}.user-privileged": Entry(link=f"{user.name}.user-privileged"),
        f"{user.name}.user": Entry(_json(record)),
        f"{user.uid}.user": Entry(link=f"{user.name}.user"),
    }


def _group(name: str, gid: int) -> dict[str, Entry]:
    record = {"groupName": name, "gid": gid, "disposition": "regular"}
    return {f"{name}.group": Entry(_json(record)), f"{gid}.group": Entry(link=f"{name}.group")}


def _membership(user: str, group: str) -> dict[str, Entry]:
    return {f"{user}:{group}.membership": Entry(b"{}\n")}


def _json(content: object) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"
