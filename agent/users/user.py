# SPDX-License-Identifier: Apache-2.0
"""A user of the cluster, and what its values may be: for bundle, credential, operator and ledger alike. Pure.

A user has a group of its own, with its name and its number. User and group numbers are those that systemd
and Debian leave to people, 1000 to 59999 (https://systemd.io/UIDS-GIDS/): above are systemd-homed, dynamic
users and containers. Further groups are the cluster's own, as NAME:GID, or one of SYSTEM_GROUPS, which give
devices for computing; no other group of the image can be had, as many of them are as good as root.
"""

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from agent import rule
from agent.status.schema import Range, Text

FIRST_ID, LAST_ID = 1000, 59_999
SYSTEM_GROUPS = ("render", "video")
SHELLS = ("/bin/bash", "/bin/sh", "/usr/sbin/nologin")
MAX_USERS = 1000
MAX_KEYS = 16
MAX_GROUPS = 16
MAX_BYTES = 384 << 10
"""Of all users together, by `size`: so they fit into a request of the operator, and into an order."""
RESERVED = frozenset(
    [
        "_apt",
        "adm",
        "audio",
        "backup",
        "bin",
        "cdrom",
        "chrony",
        "clusteros",
        "crontab",
        "daemon",
        "dialout",
        "dip",
        "disk",
        "docker",
        "etcd",
        "fax",
        "floppy",
        "games",
        "gnats",
        "input",
        "irc",
        "jupyterhub",
        "kmem",
        "kvm",
        "list",
        "lp",
        "lxd",
        "mail",
        "man",
        "messagebus",
        "munge",
        "mysql",
        "netdev",
        "news",
        "nobody",
        "nogroup",
        "operator",
        "plugdev",
        "polkitd",
        "postgres",
        "proxy",
        "rdma",
        "render",
        "root",
        "sasl",
        "sgx",
        "shadow",
        "slurm",
        "src",
        "ssh",
        "sshd",
        "staff",
        "sudo",
        "sync",
        "sys",
        "systemd",
        "tape",
        "tss",
        "tty",
        "users",
        "utmp",
        "uucp",
        "video",
        "voice",
        "wheel",
        "www-data",
    ]
)
"""Names of Debian (/usr/share/doc/base-passwd) and of what nodes run; a node also looks at its own files."""

_NAME = r"[a-z][a-z0-9_-]{0,30}"
_GROUP = rf"({'|'.join(SYSTEM_GROUPS)}|{_NAME}:[1-9][0-9]{{3,4}})"
_KEY_TYPE = (
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)"
    r"|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
)
_KEY = rf"{_KEY_TYPE} [A-Za-z0-9+/]{{40,1900}}={{0,2}}( [!-~][ -~]{{0,99}})?"
_HASH = r"\$(y|7|2b|6|5)\$[A-Za-z0-9./$=,-]{20,240}"


@dataclass(frozen=True)
class User:
    """A person's account."""

    name: Annotated[str, Text(_NAME)]
    uid: Annotated[int, Range(FIRST_ID, LAST_ID)]  # and the number of its group
    groups: tuple[Annotated[str, Text(_GROUP)], ...] = ()  # besides its own: a system group, or NAME:GID
    ssh_keys: tuple[Annotated[str, Text(_KEY)], ...] = ()  # lines of authorized_keys, without options
    shell: Annotated[str, Text("|".join(SHELLS))] = SHELLS[0]
    password_hash: Annotated[str, Text(_HASH)] | None = field(default=None, repr=False)  # of crypt(5); secret


def _check_name(name: str) -> None:
    if name in RESERVED or name.startswith("systemd-"):
        raise ValueError


def _check_group(group: str) -> None:
    name, _, gid = group.partition(":")
    if gid:
        _check_name(name)
        if not FIRST_ID <= int(gid) <= LAST_ID:
            raise ValueError


def _check_key(line: str) -> None:
    """Raise ValueError unless the key is of the type that it says: it begins with that (RFC 4253, 6.6)."""
    kind, data, *_ = line.split(" ")
    raw = b64decode(data, validate=True)
    if not raw.startswith(len(kind).to_bytes(4) + kind.encode()):
        raise ValueError


_IDS = f"{FIRST_ID} to {LAST_ID}"
RULES: Mapping[str, rule.Rule] = {
    "name": rule.text(
        _NAME,
        "1 to 31 characters a-z, 0-9, _ and -, beginning with a letter, and no name of the system",
        31,
        _check_name,
    ),
    "uid": rule.whole(FIRST_ID, LAST_ID),
    "groups": rule.several(
        rule.text(_GROUP, "a group", 40, _check_group),
        MAX_GROUPS,
        f"a list of at most {MAX_GROUPS} different groups, each {', '.join(SYSTEM_GROUPS)} or NAME:GID, with"
        f" a number of {_IDS} and no name of the system",
    ),
    "ssh_keys": rule.several(
        rule.text(_KEY, "a key", 2100, _check_key),
        MAX_KEYS,
        f"a list of at most {MAX_KEYS} different public keys, each a line of ssh-keygen's .pub file",
    ),
    "shell": rule.choice(SHELLS, f"{', '.join(SHELLS[:-1])} or {SHELLS[-1]}", str),
    "password_hash": rule.optional(
        rule.text(_HASH, "a crypt(5) hash, as `openssl passwd -6` prints it: $y$, $7$, $2b$, $6$ or $5$", 250)
    ),
}
DEFAULTS: Mapping[str, Any] = {"groups": (), "ssh_keys": (), "shell": SHELLS[0], "password_hash": None}


def read_users(values: object, errors: list[str]) -> tuple[User, ...]:
    """Return the users in a list of maps, sorted by name; add a line to `errors` for each fault.

    No line shows a password hash.
    """
    if not isinstance(values, list) or len(values) > MAX_USERS:
        errors.append(f"users: must be a list of at most {MAX_USERS} maps")
        return ()
    faults, found = len(errors), []
    for number, value in enumerate(values):
        content = rule.read_all(value, RULES, errors, f"users[{number}].", DEFAULTS)
        if content.keys() == RULES.keys():
            found.append(User(**content))
    if len(errors) == faults:
        check_together(found, errors)
    return tuple(sorted(found, key=lambda user: user.name))


def check_together(users: Iterable[User], errors: list[str]) -> None:
    """Add a line for what does not go together, of users that are good by themselves."""
    everybody = list(users)
    names: set[str] = set()
    owners: dict[int, str] = {}  # number -> the user or group that has it
    for user in everybody:
        if user.name in names:
            errors.append(f"users: there are two named {user.name}")
        elif user.uid in owners:
            errors.append(f"users: {user.name} and {owners[user.uid]} have the number {user.uid}")
        names.add(user.name)
        owners.setdefault(user.uid, user.name)
    if len(everybody) > MAX_USERS:
        errors.append(f"users: there are {len(everybody)}; at most {MAX_USERS} can be")
    if (total := sum(map(size, everybody))) > MAX_BYTES:
        errors.append(f"users: together they have {total} bytes; at most {MAX_BYTES} can be")
    _check_groups(everybody, names, owners, errors)


def _check_groups(
    everybody: Iterable[User], names: set[str], owners: dict[int, str], errors: list[str]
) -> None:
    numbers: dict[str, int] = {}
    for user in everybody:
        own = [name for name, _ in cluster_groups(user)]
        if len(set(own)) != len(own):
            errors.append(f"users: {user.name} is in one group twice")
        for name, gid in cluster_groups(user):
            known = numbers.setdefault(name, gid)
            if name in names:
                errors.append(f"users: {user.name}: the group {name} is that of the user {name}")
            elif known != gid:
                errors.append(f"users: the group {name} has the numbers {known} and {gid}")
            elif owners.setdefault(gid, name) != name:
                errors.append(f"users: the group {name} and {owners[gid]} have the number {gid}")


def cluster_groups(user: User) -> list[tuple[str, int]]:
    """Return name and number of the groups that are the cluster's own."""
    pairs = (group.partition(":") for group in user.groups)
    return [(name, int(gid)) for name, _, gid in pairs if gid]


def size(user: User) -> int:
    """Return how many bytes a user takes in a JSON document, rounded up."""
    texts = (user.name, *user.groups, *user.ssh_keys, user.shell, user.password_hash or "")
    return 120 + sum(len(re.sub(r'["\\]', "xx", text)) + 4 for text in texts)


def to_json(user: User, *, secret: bool) -> dict[str, Any]:
    """Return the map that `read_users` reads; without `secret` it only says whether there is a hash."""
    content: dict[str, Any] = {
        "name": user.name,
        "uid": user.uid,
        "groups": list(user.groups),
        "ssh_keys": list(user.ssh_keys),
        "shell": user.shell,
    }
    if secret:
        return {**content, "password_hash": user.password_hash}
    return {**content, "has_password": user.password_hash is not None}
