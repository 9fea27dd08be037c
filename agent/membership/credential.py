# SPDX-License-Identifier: Apache-2.0
"""The join credential as a file: bytes in, record out, and back. Pure.

It reaches a node as the systemd credential `cluster-os.join` (systemd.system-credentials(7)). Version 1 is a
JSON object with exactly the keys of `_RULES`, of which `users` may be missing; byte strings are in base64.
All of it is secret: with it a machine hears the cluster's gossip and may ask to be a member.
"""

import json
from base64 import b64encode
from typing import Any

from agent import rule
from agent.cluster import Credential, Ticket
from agent.errors import ClusterError
from agent.membership import rules
from agent.users.user import read_users, to_json

NAME = "cluster-os.join"
VERSION = 1
MAX_BYTES = 256 << 10
HINT = "issue it again: ./build.py cluster credential NAME"

_TICKET = {
    "nonce": rules.raw_bytes(16, "the ticket's number"),
    "expires": rule.optional(rules.TIME._replace(words="Unix seconds")),
    "founder": rules.BOOLEAN,
    "signer": rules.public_key("the key that signed the ticket"),
    "signature": rules.raw_bytes(64, "the signature of the ticket"),
}


_RULES = {
    "version": rules.VERSION,
    "cluster_id": rules.IDENTIFIER,
    "gossip_key": rules.raw_bytes(32, "the gossip key"),
    "operator_key": rules.public_key("the operator's public key"),
    "ticket": rule.Rule(f"an object with the keys {', '.join(_TICKET)}", {}, lambda value: value),
    **rules.PLAN,
    "users": rule.Rule("a list of maps", {}, lambda value: value),
}


def encode(credential: Credential) -> bytes:
    """Return the content of the file. Secret."""
    ticket = credential.ticket
    content: dict[str, Any] = {
        "version": VERSION,
        "cluster_id": credential.cluster_id,
        "name": credential.name,
        "gossip_key": _base64(credential.gossip_key),
        "operator_key": _base64(credential.operator_key),
        "ticket": {
            "nonce": _base64(ticket.nonce),
            "expires": ticket.expires,
            "founder": ticket.founder,
            "signer": _base64(ticket.signer),
            "signature": _base64(ticket.signature),
        },
        "machines": credential.machines,
        "voters": credential.voters,
        "policy": credential.policy.value,
        "allowlist": list(credential.allowlist),
        "ipv4_range": credential.ipv4_range,
        "seeds": list(credential.seeds),
        "srv": credential.srv,
    }
    if credential.users:
        # Left out where there are none: older images know no such key.
        content["users"] = [to_json(user, secret=True) for user in credential.users]
    return json.dumps(content, indent=1).encode() + b"\n"


def decode(data: bytes, where: str) -> Credential:
    """Return the credential in `data`, the content of the file named `where`.

    Raises ClusterError with all that is wrong, a line each with key and allowed values, never with a value.
    Whether the ticket is good is another question (agent/membership/ticket.py).
    """
    if len(data) > MAX_BYTES:
        raise ClusterError(f"{where}: a join credential has at most {MAX_BYTES} bytes", hint=HINT)
    try:
        content = json.loads(data, object_pairs_hook=_refuse_twins)
    except (ValueError, RecursionError):
        # Not the reason: it would show a piece of the content.
        raise ClusterError(f"{where} is not a join credential: not JSON", hint=HINT) from None
    if isinstance(content, dict) and type(content.get("version")) is int and content["version"] > VERSION:
        raise ClusterError(
            f"{where}: format version {content['version']} is newer than this image, which knows {VERSION}",
            hint="boot the newer image",
        )
    errors: list[str] = []
    found = rule.read_all(content, _RULES, errors, defaults={"users": []})
    ticket = rule.read_all(found.pop("ticket"), _TICKET, errors, "ticket.") if "ticket" in found else {}
    rules.check_together(found, errors)
    found["users"] = read_users(found.get("users", []), errors)
    rule.refuse(where, errors, HINT)
    found.pop("version")
    return Credential(ticket=Ticket(cluster_id=found["cluster_id"], **ticket), **found)


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
