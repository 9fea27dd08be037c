# SPDX-License-Identifier: Apache-2.0
"""The format of cluster.yaml, the public half of a bundle. Pure: text in, record out, and back.

Version 1 is a YAML map with exactly the keys of `_RULES`. It is published as docs/cluster.schema.json, which
image/cluster/schema.py makes of the same rules.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent import rule, strictyaml
from agent.cluster import Policy
from agent.errors import ClusterError
from agent.membership import rules

VERSION = 1
MAX_BYTES = 256 << 10
RULES: Mapping[str, rule.Rule] = {
    "version": rules.VERSION,
    "cluster_id": rules.IDENTIFIER,
    "operator_key": rules.public_key("the public key of the operator"),
    **rules.PLAN,
}
_HINT = "correct each and try again; the format: docs/cluster.schema.json"
_OPTIONS = {key: f"--{key.replace('_', '-')}" for key in rules.PLAN} | {
    "name": "NAME",
    "allowlist": "--allow",
}
_COMMENTS = {
    "cluster_id": "names the cluster; never change it",
    "operator_key": "its private half, in secret.json, signs tickets",
    "machines": "planned number; 0: only a founding medium founds",
    "voters": "wanted; 1, 3 or 5",
    "policy": "who may be a member: auto, allowlist or approve",
    "allowlist": "for that policy: node IDs, or ek: and the SHA-256 of a TPM's endorsement key",
    "ipv4_range": "of the mesh",
    "seeds": "machines to find in other networks: HOST or HOST:PORT",
    "srv": "DNS name of SRV records of further seeds",
}
_HEADER = """\
# Plan of a cluster, as ./build.py cluster new made it. Public; its secrets are in secret.json beside it.
# Before the cluster is formed all may be changed but the first four values; issue all credentials anew then.
# Afterwards only allowlist, seeds and srv: the rest stands in the cluster's genesis, and a machine that holds
# another plan is refused.
"""


@dataclass(frozen=True)
class Plan:
    """What an operator wants a cluster to be; all of it public. As in agent.cluster.Credential."""

    cluster_id: str
    operator_key: bytes
    name: str
    machines: int
    voters: int
    policy: Policy
    allowlist: tuple[str, ...]
    ipv4_range: str
    seeds: tuple[str, ...]
    srv: str | None


def check_options(values: Mapping[str, object]) -> dict[str, Any]:
    """Return what `values` hold, the options of `cluster new` by their keys in cluster.yaml.

    Raises ClusterError with all that is wrong, a line each with the option and what is allowed.
    """
    errors: list[str] = []
    found = rule.read_all(values, rules.PLAN, errors)
    rules.check_together(found, errors)
    told = []
    for error in errors:
        key, _, words = error.partition(": ")
        told.append(f"{_OPTIONS.get(key, key)}: {words}")
    rule.refuse("the arguments", told, "correct each and try again; see: ./build.py cluster new --help")
    return found


def encode_plan(plan: Plan) -> str:
    """Return the text of cluster.yaml, with comments for whoever edits it."""
    values = {
        "version": VERSION,
        "cluster_id": plan.cluster_id,
        "operator_key": b64encode(plan.operator_key).decode(),
        "name": plan.name,
        "machines": plan.machines,
        "voters": plan.voters,
        "policy": plan.policy.value,
        "allowlist": list(plan.allowlist),
        "ipv4_range": plan.ipv4_range,
        "seeds": list(plan.seeds),
        "srv": plan.srv,
    }
    lines = []
    for key, value in values.items():
        if key in _COMMENTS:
            lines.append(f"# {_COMMENTS[key]}")
        # JSON is YAML, and its quotes keep `no` a name and `222` a text.
        lines.append(f"{key}: {json.dumps(value)}")
    return _HEADER + "\n" + "\n".join(lines) + "\n"


def decode_plan(data: bytes, where: str) -> Plan:
    """Return the plan in `data`, the content of the file named `where`.

    Raises ClusterError with all that is wrong, a line each with key and allowed values.
    """
    content = strictyaml.parse(data, where, most=MAX_BYTES, hint=_HINT)
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is int and version > VERSION:
        raise ClusterError(
            f"{where}: format version {version} is newer than this checkout, which knows version {VERSION}",
            hint="use the newer checkout that made it",
        )
    errors: list[str] = []
    found = rule.read_all(content, RULES, errors)
    rules.check_together(found, errors)
    rule.refuse(where, errors, _HINT)
    del found["version"]
    return Plan(**found)
