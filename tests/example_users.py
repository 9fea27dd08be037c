# SPDX-License-Identifier: Apache-2.0
"""Users for tests: what may be written in users.yaml, and the records of it."""

from base64 import b64encode
from typing import Any

from agent.users.user import User

# crypt(5) of "correct horse" and of "battery staple".
HASH = "$6$saltofalice00000$" + "a" * 86
OTHER_HASH = "$y$j9T$saltofbob000000000000$" + "b" * 43


def make_key(comment: str = "alice@example.org") -> str:
    """Return a public key as ssh-keygen writes it."""
    raw = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + comment.encode().ljust(32, b"k")[:32]
    return f"ssh-ed25519 {b64encode(raw).decode()} {comment}"


ALICE = User(
    "alice",
    1001,
    groups=("video", "physics:5000"),
    ssh_keys=(make_key(), make_key("alice@laptop.example.org")),
    password_hash=HASH,
)
BOB = User("bob", 1002, groups=("physics:5000",), shell="/bin/sh")
MAPS: dict[str, dict[str, Any]] = {
    "alice": {
        "name": "alice",
        "uid": 1001,
        "groups": ["video", "physics:5000"],
        "ssh_keys": list(ALICE.ssh_keys),
        "password_hash": HASH,
    },
    "bob": {"name": "bob", "uid": 1002, "groups": ["physics:5000"], "shell": "/bin/sh"},
}
