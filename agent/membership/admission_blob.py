# SPDX-License-Identifier: Apache-2.0
"""The admission: what a new member needs to start, and what proves it. Pure but for a box's randomness.

An envelope of agent/wire.py in the context `cluster/admission`, signed by a voter or a founder and fetched in
parts:

    record   the genesis record (agent/formation/record.py)
    self     the member that is admitted, `voters` those to begin with, each with
             `node`, `hardware`, `ipv4` (text), `number`, `signature` of its certificate (nil: a founder)
             and `endpoints` (texts HOST:PORT of its WireGuard, perhaps none)
    secrets  sealed for the new member: a body with `gossip_key`, `gossip_version`, `raft_password`

The new member believes nothing but its credential: the record must be one of its cluster, with the signatures
of a quorum; from it comes the admission key, which must have signed for the new member, and for each voter.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent import wire
from agent.cluster import Certificate, Credential, Genesis, Ledger, Member
from agent.errors import ClusterError
from agent.formation.genesis import open_admission_seed
from agent.formation.record import open_record
from agent.identity import identity_of_seed
from agent.membership.certificate import verify_certificate
from agent.membership.ledger_voters import MAX_VOTERS
from agent.membership.secrets import KEY_BYTES, NodeSecrets, open_sealed, seal_for
from agent.node_ids import public_key_of

CONTEXT = "cluster/admission"
MAX_ENDPOINTS = 8
_MAX_ENDPOINT = 64
_MAX_RECORD = 60 << 10
_MAX_BOX = 512
_LAST = 2**53
_WHERE = "the admission"


@dataclass(frozen=True)
class Contact:
    """A member, and where its WireGuard may be reached: texts HOST:PORT, the likeliest first."""

    member: Member
    endpoints: tuple[str, ...]


@dataclass(frozen=True)
class Admission:
    """A checked admission, ours."""

    genesis: Genesis
    genesis_hash: str
    record: bytes  # the genesis record, to keep
    member: Member  # ourselves
    voters: tuple[Contact, ...]
    secrets: NodeSecrets


def seal_admission(
    seed: bytes,
    node_id: str,
    *,
    record: bytes,
    ledger: Ledger,
    endpoints: Mapping[str, Sequence[str]],
    secrets: NodeSecrets,
) -> bytes:
    """Return the admission of the member `node_id`, signed by the voter or founder with this seed.

    `record` is the encoded genesis record; `endpoints` may have some for each voter; `secrets` are those of
    the voter itself. ClusterError when it would be longer than wire.MAX_BLOB.
    """
    inner = {
        "gossip_key": secrets.gossip_key,
        "gossip_version": secrets.gossip_version,
        "raft_password": secrets.raft_password,
    }
    blob = wire.seal(
        seed,
        CONTEXT,
        {
            "record": record,
            "self": _to_body(ledger.members[node_id], ()),
            "voters": [_to_body(ledger.members[voter], endpoints.get(voter, ())) for voter in ledger.voters],
            "secrets": seal_for(wire.pack(inner), [node_id])[node_id],
        },
    )
    if len(blob) > wire.MAX_BLOB:
        raise ClusterError(f"an admission of {len(blob)} bytes is longer than {wire.MAX_BLOB}")
    return blob


def open_admission(data: bytes, credential: Credential, seed: bytes, hardware: str) -> Admission:
    """Return the admission in `data`, checked, for the node with this credential, seed and hardware.

    Raises ClusterError when anything of it is not proved, or is for somebody else.
    """
    sender, body = wire.open(data, CONTEXT)
    fields = wire.Fields(body, _WHERE)
    record_bytes = fields.bytes("record", max=_MAX_RECORD)
    record = open_record(record_bytes, credential)
    genesis, genesis_hash = record.genesis, record.hash
    own = _read(fields.map("self"), genesis, genesis_hash)
    voters = tuple(_read(each, genesis, genesis_hash) for each in fields.maps("voters", most=MAX_VOTERS))
    box = fields.bytes("secrets", max=_MAX_BOX)
    fields.done()
    if own.member.node_id != identity_of_seed(seed).node_id:
        raise ClusterError(f"{_WHERE} is for another node")
    if own.member.hardware != hardware:
        raise ClusterError(f"{_WHERE} is for this node on other hardware")
    _check_together(genesis, own.member, [contact.member for contact in voters])
    # A founder without a vote may be the only one who has heard that the genesis was decided.
    if sender not in (*genesis.founders, *(contact.member.node_id for contact in voters)):
        raise ClusterError(f"{_WHERE} is signed neither by a voter nor by a founder")
    secrets = _open_secrets(seed, box, genesis_hash)
    if (founder_seed := open_admission_seed(genesis, seed)) is not None:
        secrets = replace(secrets, admission_seed=founder_seed)
    return Admission(genesis, genesis_hash, record_bytes, own.member, voters, secrets)


def _to_body(member: Member, endpoints: Sequence[str]) -> dict[str, Any]:
    return {
        "node": public_key_of(member.node_id),
        "hardware": bytes.fromhex(member.hardware),
        "ipv4": member.ipv4,
        "number": member.number,
        "signature": member.certificate.signature if member.certificate else None,
        "endpoints": list(endpoints[:MAX_ENDPOINTS]),
    }


def _read(fields: wire.Fields, genesis: Genesis, genesis_hash: str) -> Contact:
    """Return a member whose certificate was checked; ClusterError when it has none."""
    node_id, hardware = fields.node("node"), fields.hexadecimal("hardware", exactly=6)
    certificate = None
    if not fields.nil("signature"):
        signature = fields.bytes("signature", exactly=wire.SIGNATURE_BYTES)
        certificate = Certificate(genesis_hash, node_id, hardware, signature)
        verify_certificate(certificate, genesis_hash, genesis.admission_key)
    elif (node_id, hardware) not in zip(genesis.founders, genesis.hardware, strict=True):
        raise ClusterError(f"{_WHERE} has a member without a certificate")
    ipv4, number = fields.text("ipv4", max=15), fields.integer("number", 0, _LAST)
    endpoints = fields.texts("endpoints", most=MAX_ENDPOINTS, max=_MAX_ENDPOINT)
    fields.done()
    return Contact(Member(node_id, hardware, ipv4, certificate, number), endpoints)


def _check_together(genesis: Genesis, own: Member, voters: Sequence[Member]) -> None:
    members = {member.node_id: member for member in (*voters, own)}
    network = ipaddress.IPv4Network(genesis.ipv4_range)
    try:
        addresses = {ipaddress.IPv4Address(member.ipv4) for member in members.values()}
    except ValueError:
        raise ClusterError(f"{_WHERE} has a member without an IPv4 address") from None
    ends = {network.network_address, network.broadcast_address}
    if len(addresses) != len(members) or addresses & ends or any(each not in network for each in addresses):
        raise ClusterError(f"{_WHERE} has addresses that are not in {network}, or there twice")
    if not voters or len({voter.node_id for voter in voters}) != len(voters):
        raise ClusterError(f"{_WHERE} has no voters, or one of them twice")


def _open_secrets(seed: bytes, box: bytes, genesis_hash: str) -> NodeSecrets:
    fields = wire.Fields(wire.unpack(open_sealed(seed, box)), f"{_WHERE}: secrets")
    secrets = NodeSecrets(
        genesis=genesis_hash,
        gossip_version=fields.integer("gossip_version", 1, _LAST),
        gossip_key=fields.bytes("gossip_key", exactly=KEY_BYTES),
        raft_password=fields.text("raft_password", min=44, max=44),
        admission_seed=None,
    )
    fields.done()
    return secrets
