# SPDX-License-Identifier: Apache-2.0
"""The record that first boot is complete: firstboot.json, written last, by firstboot/ only. Pure.

It names the node, so that a machine whose identity.json was lost or exchanged does not quietly become another
node: the record and the identity must agree.
"""

import json

from agent.errors import ClusterError
from agent.model import Identity

VERSION = 1


def encode(identity: Identity) -> bytes:
    """Return the content of firstboot.json. No time in it: the clock of a new machine may be wrong."""
    return json.dumps({"version": VERSION, "node_id": identity.node_id}, indent=1).encode() + b"\n"


def check(record: bytes | None, identity: Identity | None, where: str) -> bool:
    """Return whether first boot was completed for this identity; `record` is None where there is no record.

    Raises ClusterError when there is a record and the identity that it is about is gone, or is another one. A
    damaged record next to an identity counts as none: first boot writes it again.
    """
    if record is None:
        return False
    recorded = _node_id(record)
    if identity is None:
        raise ClusterError(
            f"this machine was set up as node {recorded or '(unreadable)'}, and its identity.json is gone",
            hint=f"restore it from a backup, or remove {where} to make the machine a new node",
        )
    if recorded is not None and recorded != identity.node_id:
        raise ClusterError(
            f"this machine was set up as node {recorded}, and identity.json is of node {identity.node_id}",
            hint=f"put the right identity.json back, or remove {where} to accept the new one",
        )
    return recorded is not None


def _node_id(record: bytes) -> str | None:
    try:
        content = json.loads(record)
        node_id = content["node_id"] if content["version"] == VERSION else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return node_id if isinstance(node_id, str) and node_id.isalnum() else None
