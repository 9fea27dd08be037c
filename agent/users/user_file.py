# SPDX-License-Identifier: Apache-2.0
"""The file of users: users.yaml of a bundle, and what `node-agent users set` reads. Pure.

Version 1 is a YAML map with exactly the keys `version` and `users`, a list of maps as agent/users/user.py has
them. It holds password hashes: it is for its owner alone. Its schema is docs/users.schema.json, which
`python3 -m agent.users.user_file` prints.
"""

import json
from typing import Any

from agent import rule, strictyaml
from agent.errors import ClusterError
from agent.users.user import DEFAULTS, MAX_USERS, RULES, User, read_users

NAME = "users.yaml"
VERSION = 1
MAX_FILE = 512 << 10  # bytes
HINT = "correct each and try again; the format: docs/users.schema.json"
TEMPLATE = """\
# The cluster's users; they are the same on every node. For your eyes only: it may hold password hashes.
# A new cluster has them from its first moment: issue its credentials after a change (./build.py cluster
# credential NAME). On a running one: node-agent users set users.yaml
#
# users:
#   - name: alice
#     uid: 1001                        # also the number of her group; 1000 to 59999
#     groups: [video, "physics:5000"]  # render, video, or a group of the cluster with its number
#     ssh_keys: ["ssh-ed25519 AAAA... alice@example.org"]
#     password_hash: "$y$..."          # openssl passwd -6; without it: no login by password
version: 1
users: []
"""


def decode_users(data: bytes, where: str) -> tuple[User, ...]:
    """Return the users in `data`, the content of the file `where`; ClusterError with all that is wrong."""
    content = strictyaml.parse(data, where, most=MAX_FILE, hint=HINT)
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is int and version > VERSION:
        raise ClusterError(
            f"{where}: format version {version} is newer than this program, which knows version {VERSION}",
            hint="use the newer program that it was made for",
        )
    errors: list[str] = []
    rules = {
        "version": rule.choice((VERSION,), str(VERSION), int),
        "users": rule.Rule("a list of maps", {}, lambda value: value),
    }
    found = rule.read_all(content, rules, errors)
    users = read_users(found["users"], errors) if "users" in found else ()
    rule.refuse(where, errors, HINT)
    return users


def make_schema() -> dict[str, Any]:
    """Return the schema of the file: JSON Schema, draft 2020-12."""
    properties = {key: {**each.schema, "description": each.words} for key, each in RULES.items()}
    user = {
        "type": "object",
        "properties": properties,
        "required": [key for key in properties if key not in DEFAULTS],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Cluster-OS: users of a cluster ({NAME})",
        "type": "object",
        "properties": {
            "version": {"const": VERSION},
            "users": {"type": "array", "items": user, "maxItems": MAX_USERS},
        },
        "required": ["version", "users"],
        "additionalProperties": False,
    }


def render_schema() -> str:
    """Return the text of docs/users.schema.json."""
    return json.dumps(make_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(render_schema(), end="")
