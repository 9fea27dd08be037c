# SPDX-License-Identifier: Apache-2.0
"""What the values of a cluster may be: one table for cluster.yaml, the credential and the JSON schema. Pure.

A value that is wrong is told in the words of its rule, and never repeated where it may be a secret.
"""

import ipaddress
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from agent.cluster import Policy
from agent.errors import ClusterError
from agent.identity import identity_of_node_id, identity_of_public_key

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


class Rule(NamedTuple):
    """A kind of value: what to tell a person, its JSON schema, how to read it (ValueError: wrong)."""

    words: str
    schema: Mapping[str, Any]
    read: Callable[[object], Any]


def read_all(
    values: object, rules: Mapping[str, Rule], errors: list[str], prefix: str = ""
) -> dict[str, Any]:
    """Return the values of a map with exactly the keys of `rules`; add a line to `errors` for each fault.

    `prefix` goes before the key in each line: `ticket.`, or nothing.
    """
    if not isinstance(values, Mapping):
        errors.append(f"{prefix.rstrip('.') or 'the whole'}: must hold keys; there are {', '.join(rules)}")
        return {}
    found = {}
    for key in values:
        if not isinstance(key, str) or key not in rules:
            errors.append(f"{prefix}{str(key)[:40]!r}: no such key; there are {', '.join(rules)}")
    for key, rule in rules.items():
        if key not in values:
            errors.append(f"{prefix}{key}: missing; must be {rule.words}")
            continue
        try:
            found[key] = rule.read(values[key])
        except (ValueError, ClusterError):
            errors.append(f"{prefix}{key}: must be {rule.words}")
    return found


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


def refuse(where: str, errors: list[str], hint: str) -> None:
    """Raise ClusterError with all `errors` in the file `where`, a line each; return when there are none."""
    if errors:
        count = "is 1 error" if len(errors) == 1 else f"are {len(errors)} errors"
        raise ClusterError("\n  ".join((f"there {count} in {where}:", *errors)), hint=hint)


def _odd_up_to(machines: int) -> str:
    return ", ".join(str(number) for number in VOTERS if number <= machines)


def _whole(low: int, high: int) -> Rule:
    def read(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Rule(f"a whole number, {low} to {high}", schema, read)


def _text(pattern: str, words: str, most: int, check: Callable[[str], object] | None = None) -> Rule:
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if not isinstance(value, str) or len(value) > most or not compiled.fullmatch(value):
            raise ValueError
        if check:
            check(value)
        return value

    return Rule(words, {"type": "string", "pattern": f"^{pattern}$", "maxLength": most}, read)


def _choice(values: tuple[Any, ...], words: str, kind: Callable[[Any], Any]) -> Rule:
    def read(value: object) -> object:
        # `type` too: to Python true is 1.
        if not any(value == each and type(value) is type(each) for each in values):
            raise ValueError
        return kind(value)

    return Rule(words, {"enum": list(values)}, read)


def _list(item: Rule, most: int, words: str) -> Rule:
    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError
        found = tuple(item.read(each) for each in value)
        if len(set(found)) != len(found):
            raise ValueError
        return found

    schema = {"type": "array", "items": item.schema, "maxItems": most, "uniqueItems": True}
    return Rule(words, schema, read)


def optional(rule: Rule) -> Rule:
    """Return the rule that also takes null."""
    return Rule(
        f"{rule.words}, or null",
        {"anyOf": [rule.schema, {"type": "null"}]},
        lambda value: None if value is None else rule.read(value),
    )


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
_ENTRY = _text(rf"({EK_ENTRY}|{_NODE_ID})", "an entry", 67, _check_entry)
VERSION = _choice((1,), "1", int)
BOOLEAN = _choice((False, True), "true or false", bool)
TIME = _whole(0, 2**53)
IDENTIFIER = _text(CLUSTER_ID, "26 characters a-z and 2-7, as `cluster new` made it", 26)
PLAN: Mapping[str, Rule] = {
    "name": _text(NAME, "1 to 32 characters a-z, 0-9 and -, beginning with a letter, not ending with -", 32),
    "machines": _whole(0, MAX_MACHINES)._replace(
        words=f"the planned number of machines, 1 to {MAX_MACHINES}, or 0: only a founding medium founds"
    ),
    "voters": _choice(VOTERS, "1, 3 or 5", int),
    "policy": _choice(_POLICIES, ", ".join(_POLICIES[:-1]) + f" or {_POLICIES[-1]}", Policy),
    "allowlist": _list(
        _ENTRY,
        MAX_ALLOWED,
        f"a list of at most {MAX_ALLOWED} different entries, each a node ID, or ek: and the SHA-256 of a"
        " TPM's endorsement key in 64 hexadecimal digits",
    ),
    "ipv4_range": _text(
        _CIDR,
        f"a private IPv4 network with a mask of {WIDEST} to {NARROWEST} bits, no host bits, as 10.86.0.0/16",
        18,
        _check_range,
    ),
    "seeds": _list(
        _text(_SEED, "a seed", 262, _check_port),
        MAX_SEEDS,
        f"a list of at most {MAX_SEEDS} different entries HOST or HOST:PORT; an IPv6 address in brackets",
    ),
    "srv": optional(_text(_DNS_NAME, "a DNS name, as _cluster-os._udp.example.org", 253)),
}
