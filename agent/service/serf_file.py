# SPDX-License-Identifier: Apache-2.0
"""What is read back from Serf's configuration, which gossip.py owns: Serf may have been started with it."""

import json
from pathlib import Path


def read_rpc_auth(file: Path) -> str | None:
    """Return the key of the RPC in serf.json, None when there is no such file."""
    try:
        return str(json.loads(file.read_bytes())["rpc_auth"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_advertised(content: bytes) -> str | None:
    """Return the address that the content of serf.json advertises, None where it names none."""
    try:
        found = json.loads(content).get("advertise")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
