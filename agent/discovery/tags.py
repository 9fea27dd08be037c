# SPDX-License-Identifier: Apache-2.0
"""What a node announces in Serf's tags, signed by its node key. Pure.

| tag | content |
|---|---|
| `v` | version of this format: 1 |
| `p` | phase, of agent.cluster.Phase |
| `g` | hash of the genesis that it follows, unpadded base64url of 32 bytes; absent: none |
| `w` | UDP port of its WireGuard |
| `a` | further underlay addresses, separated by commas; absent: none |
| `r` | roles of kind leader that it can hold, separated by commas; absent: none |
| `o` | `1`: it has a vote; absent: it has none |
| `s` | signature of all other tags and of the node's name in Serf, unpadded base64url |

The name in Serf is NODE_ID.HARDWARE, so nobody can announce anything under the name of another node. What a
holder of the gossip key can do is repeat older tags of a node, or give it a wrong address: tags are hints,
and nothing that must be true rests on them alone.

All tags of a node together take at most 512 bytes (memberlist's MetaMaxSize), as Serf encodes them.
"""

import ipaddress
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from agent.cluster import Peer, Phase
from agent.discovery.serf_records import SerfMember
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.signature import Signature, sign, verify

VERSION = "1"
CONTEXT = "cluster/tags"
MAX_BYTES = 512
MAX_ADDRESSES = 8
MAX_ROLES = 120
"""Characters of the tag `r`: what is left beside three IPv6 addresses."""
SIGNATURE = "s"
_NAME = re.compile(r"([1-9A-HJ-NP-Za-km-z]{32,44})\.([0-9a-f]{12})")
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,22}[a-z0-9]")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_PHASES = {phase.value for phase in Phase}


class Reason(Enum):
    """Why a member of the gossip is no peer; the value completes `NAME ...`."""

    NAME = "has a name that no node has"
    VERSION = "announces itself in another version of the protocol"
    FORM = "announces what is not in the form of the protocol"
    SIGNATURE = "announces what its node key did not sign"


@dataclass(frozen=True)
class Stranger:
    """A member of the gossip that is no peer: it has the gossip key and does not follow the protocol."""

    name: str
    address: str
    reason: Reason


@dataclass(frozen=True)
class Announcement:
    """What a node says of itself."""

    phase: Phase
    genesis: str | None  # 64 hexadecimal digits
    wireguard_port: int
    addresses: tuple[str, ...] = ()  # at most MAX_ADDRESSES
    voter: bool = False
    roles: tuple[str, ...] = ()  # of kind leader, sorted; together at most MAX_ROLES characters


def name_node(node_id: str, hardware: str) -> str:
    """Return the name in Serf of a node on a piece of hardware."""
    return f"{node_id}.{hardware}"


def encode(announcement: Announcement, name: str, seed: bytes) -> dict[str, str]:
    """Return the signed tags of the node with the Serf name `name` and the private `seed`.

    Raises ClusterError when they would be refused: by other nodes, or by Serf for their size.
    """
    if name.partition(".")[0] != identity_of_seed(seed).node_id:
        raise ValueError("the name in Serf is that of another node")
    tags = {"v": VERSION, "p": announcement.phase.value, "w": str(announcement.wireguard_port)}
    if announcement.genesis is not None:
        tags["g"] = _to_text(bytes.fromhex(announcement.genesis))
    if announcement.addresses:
        tags["a"] = ",".join(announcement.addresses)
    if announcement.voter:
        tags["o"] = "1"
    if announcement.roles:
        tags["r"] = ",".join(announcement.roles)
    if _parse(tags) != announcement:
        raise ClusterError("what this node would announce is not in the form of the protocol")
    tags[SIGNATURE] = _to_text(sign(seed, CONTEXT, _message(name, tags)).signature)
    if measure(tags) > MAX_BYTES:
        raise ClusterError(f"the tags of this node take {measure(tags)} bytes, {MAX_BYTES} at most may be")
    return tags


def decode(member: SerfMember) -> Announcement | Reason:
    """Return what a member announces, or why it is no peer."""
    name = _NAME.fullmatch(member.name)
    if not name:
        return Reason.NAME
    if member.tags.get("v") != VERSION:
        return Reason.VERSION
    announcement = _parse(member.tags)
    signature = _to_bytes(member.tags.get(SIGNATURE, ""), 64)
    if announcement is None or signature is None:
        return Reason.FORM
    try:
        verify(Signature(name[1], CONTEXT, signature), CONTEXT, _message(member.name, member.tags))
    except ClusterError:
        return Reason.SIGNATURE
    return announcement


def make_peer(member: SerfMember, announcement: Announcement, *, seen: float) -> Peer:
    """Return the peer that `member` is, once `decode` gave its announcement; `seen` is monotonic time."""
    node_id, _, hardware = member.name.partition(".")
    return Peer(
        name=member.name,
        node_id=node_id,
        hardware=hardware,
        address=member.address,
        alive=member.alive,
        phase=announcement.phase.value,
        genesis=announcement.genesis,
        wireguard_port=announcement.wireguard_port,
        addresses=announcement.addresses,
        voter=announcement.voter,
        seen=seen,
        roles=announcement.roles,
    )


def measure(tags: Mapping[str, str]) -> int:
    """Return the bytes that Serf makes of `tags`: a type byte and a map in the first msgpack format."""
    header = 1 if len(tags) < 16 else 3
    texts = [text.encode() for pair in tags.items() for text in pair]
    return 1 + header + sum(len(text) + (1 if len(text) < 32 else 3) for text in texts)


def _message(name: str, tags: Mapping[str, str]) -> bytes:
    """Return what is signed; as no part holds a NUL (see `_parse`), each set of tags has its own bytes."""
    parts = [name]
    for key in sorted(tags):
        if key != SIGNATURE:
            parts += [key, tags[key]]
    return "\0".join(parts).encode()


def _parse(tags: Mapping[str, str]) -> Announcement | None:
    """Return what `tags` say, apart from version and signature; None when it has not the right form.

    Tags that this version does not know are fine, as long as they are signed.
    """
    if not all(text.isascii() and text.isprintable() for pair in tags.items() for text in pair):
        return None
    genesis = _to_bytes(tags["g"], 32) if "g" in tags else None
    addresses = tuple(tags["a"].split(",")) if "a" in tags else ()
    port, phase = tags.get("w", ""), tags.get("p")
    if not _PORT.fullmatch(port) or int(port) > 65535 or phase not in _PHASES:
        return None
    if ("g" in tags and genesis is None) or tags.get("o", "1") != "1":
        return None
    if len(addresses) > MAX_ADDRESSES or not all(map(_is_usable, addresses)):
        return None
    roles = tuple(tags["r"].split(",")) if "r" in tags else ()
    if len(tags.get("r", "")) > MAX_ROLES or not all(map(_ROLE.fullmatch, roles)):
        return None
    if roles != tuple(sorted(set(roles))):
        return None
    return Announcement(
        Phase(phase), genesis.hex() if genesis else None, int(port), addresses, "o" in tags, roles
    )


def _is_usable(text: str) -> bool:
    """Whether it is an address, in its canonical form, at which another machine can be."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    useless = address.is_loopback or address.is_multicast or address.is_unspecified or "%" in text
    return str(address) == text and not useless


def _to_text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _to_bytes(text: str, size: int) -> bytes | None:
    """Return the `size` bytes that `text` stands for; None unless it is their one form."""
    if len(text) > 2 * size or not text.isascii():
        return None
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return data if len(data) == size and _to_text(data) == text else None
