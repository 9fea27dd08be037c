# SPDX-License-Identifier: Apache-2.0
"""What the values of a cluster may be: one table for cluster.yaml, the credential and the JSON schema. Pure.

A value that is wrong is told in the words of its rule, and never repeated where it may be a secret.
"""

import ipaddress
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any

from agent.cluster import Policy
from agent.identity import identity_of_node_id, identity_of_public_key
from agent.rule import Rule, choice, optional, several, text, whole

MAX_MACHINES = 1000
"""More are founded by a founding medium: the genesis record carries signatures of half the number."""
MAX_ALLOWED = 1000
MAX_SEEDS = 32
VOTERS = (1, 3, 5)
CLUSTER_ID = r"[a-z2-7]{26}"
NAME = r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?"
EK_ENTRY = r"ek:[0-9a-f]{64}"
_NODE_ID = r"[1-9A-HJ-NP-Za-km-z]{32,44}"
_BASE64_32 = r"[A-Za-z0-9+/]{43}="
_BASE64_64 = r"[A-Za-z0-9+/]{86}=="
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = rf"{_LABEL}(\.{_LABEL})*"
_PORT = r"([1-9][0-9]{0,4})"
_SEED = rf"({_DNS_NAME}(:{_PORT})?|\[[0-9A-Fa-f:.]+\](:{_PORT})?)"
_CIDR = r"([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}"
# RFC 1918 and RFC 6598: what nobody reaches by the public network, so that the mesh hides nothing.
PRIVATE = tuple(
    ipaddress.IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
WIDEST, NARROWEST = 8, 29


def check_together(found: Mapping[str, Any], errors: list[str]) -> None:
    """Add a line for each pair of values, good by themselves, that do not go together."""
    machines, voters, policy = found.get("machines"), found.get("voters"), found.get("policy")
    if machines and voters and voters > machines:
        errors.append(f"voters: must be at most the {machines} of machines; allowed: {_odd_up_to(machines)}")
    if (allowlist := found.get("allowlist")) is not None and policy is not None:
        nodes = sum(not entry.startswith("ek:") for entry in allowlist)
        if policy is Policy.ALLOWLIST and not allowlist:
            errors.append(
                "allowlist: must have an entry, as policy is allowlist: else nobody may be a member"
            )
        elif policy is Policy.ALLOWLIST and machines and nodes <= machines // 2:
            # Nothing proves whose TPM a key is before there is a cluster, so such an entry founds nothing.
            errors.append(
                f"allowlist: must hold node IDs of more than half of the {machines} machines, which found "
                f"the cluster; there are {nodes}"
            )
        if policy is not Policy.ALLOWLIST and allowlist:
            errors.append(f"allowlist: must be empty, as policy is {policy.value}")
    network = found.get("ipv4_range")
    if machines and network and (room := ipaddress.IPv4Network(network).num_addresses - 2) < machines:
        errors.append(f"ipv4_range: has room for {room} machines; machines is {machines}")


def _odd_up_to(machines: int) -> str:
    return ", ".join(str(number) for number in VOTERS if number <= machines)


def raw_bytes(size: int, what: str) -> Rule:
    """Return the rule of `size` bytes (16, 32 or 64) in base64."""
    pattern = {16: r"[A-Za-z0-9+/]{22}==", 32: _BASE64_32, 64: _BASE64_64}[size]

    def read(value: object) -> bytes:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError
        try:
            return b64decode(value, validate=True)
        except Base64Error:
            raise ValueError from None

    schema = {"type": "string", "pattern": f"^{pattern}$", "contentEncoding": "base64"}
    return Rule(f"{what}: {size} bytes in base64", schema, read)


def public_key(what: str) -> Rule:
    """Return the rule of an Ed25519 public key in base64."""
    raw = raw_bytes(32, what)

    def read(value: object) -> bytes:
        key: bytes = raw.read(value)
        identity_of_public_key(key)
        return key

    return raw._replace(read=read)


def _check_entry(entry: str) -> None:
    if not entry.startswith("ek:"):
        identity_of_node_id(entry)


def _check_port(seed: str) -> None:
    host, _, port = seed.rpartition(":") if not seed.endswith("]") else (seed, "", "")
    if host and port and int(port) > 65535:
        raise ValueError
    if seed.startswith("["):
        ipaddress.IPv6Address(seed[1 : seed.index("]")])


def _check_range(cidr: str) -> None:
    network = ipaddress.IPv4Network(cidr)
    if not WIDEST <= network.prefixlen <= NARROWEST or not any(network.subnet_of(each) for each in PRIVATE):
        raise ValueError


_POLICIES = tuple(policy.value for policy in Policy)
_ENTRY = text(rf"({EK_ENTRY}|{_NODE_ID})", "an entry", 67, _check_entry)
VERSION = choice((1,), "1", int)
BOOLEAN = choice((False, True), "true or false", bool)
TIME = whole(0, 2**53)
IDENTIFIER = text(CLUSTER_ID, "26 characters a-z and 2-7, as `cluster new` made it", 26)
PLAN: Mapping[str, Rule] = {
    "name": text(NAME, "1 to 32 characters a-z, 0-9 and -, beginning with a letter, not ending with -", 32),
    "machines": whole(0, MAX_MACHINES)._replace(
        words=f"the planned number of machines, 1 to {MAX_MACHINES}, or 0: only a founding medium founds"
    ),
    "voters": choice(VOTERS, "1, 3 or 5", int),
    "policy": choice(_POLICIES, ", ".join(_POLICIES[:-1]) + f" or {_POLICIES[-1]}", Policy),
    "allowlist": several(
        _ENTRY,
        MAX_ALLOWED,
        f"a list of at most {MAX_ALLOWED} different entries, each a node ID, or ek: and the SHA-256 of a"
        " TPM's endorsement key in 64 hexadecimal digits",
    ),
    "ipv4_range": text(
        _CIDR,
        f"a private IPv4 network with a mask of {WIDEST} to {NARROWEST} bits, no host bits, as 10.86.0.0/16",
        18,
        _check_range,
    ),
    "seeds": several(
        text(_SEED, "a seed", 262, _check_port),
        MAX_SEEDS,
        f"a list of at most {MAX_SEEDS} different entries HOST or HOST:PORT; an IPv6 address in brackets",
    ),
    "srv": optional(text(_DNS_NAME, "a DNS name, as _cluster-os._udp.example.org", 253)),
}
