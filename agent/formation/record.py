# SPDX-License-Identifier: Apache-2.0
"""The genesis record: a genesis with the accept signatures of a quorum. Pure.

Who joins later, or was away, believes it by the signatures alone, from whomever it came. It is a body of
agent/wire.py: `value` (the encoded genesis), `ballot` (46 bytes) and `accepts`, a list of public key (32
bytes) and signature (64 bytes), sorted by node ID. A signature is that of an `accepted` message
(messages.py): context CONTEXT, over the body with `b` the ballot, `c` the cluster id and `g` the hash of the
genesis. Two records of one genesis may differ in ballot and signatures.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agent import wire
from agent.cluster import Credential, Genesis
from agent.errors import ClusterError
from agent.formation.ballot import BALLOT_BYTES, Ballot, decode_ballot, encode_ballot
from agent.formation.genesis import (
    MAX_GENESIS,
    check_genesis,
    decode_genesis,
    encode_genesis,
    genesis_hash,
    hash_encoded,
)
from agent.formation.plan import counts, quorum
from agent.membership.rules import MAX_MACHINES
from agent.node_ids import node_id_of, public_key_of
from agent.signature import Signature, verify

CONTEXT = "cluster/form-accepted"
_ACCEPT = wire.PUBLIC_KEY_BYTES + wire.SIGNATURE_BYTES
_WHERE = "the genesis record"


@dataclass(frozen=True)
class GenesisRecord:
    genesis: Genesis
    ballot: Ballot
    accepts: Mapping[str, bytes]  # node ID -> signature

    @property
    def hash(self) -> str:
        """The name of the cluster instance: 64 hexadecimal digits."""
        return genesis_hash(self.genesis)


def signed_body(cluster_id: str, ballot: Ballot, value_hash: str) -> dict[str, object]:
    """Return what a node signs that accepts the genesis with the hash `value_hash` in `ballot`."""
    return {"b": encode_ballot(ballot), "c": cluster_id, "g": bytes.fromhex(value_hash)}


def encode_record(value: bytes, ballot: Ballot, accepts: Mapping[str, bytes]) -> bytes:
    """Return the record of the encoded genesis `value`; `accepts` as in GenesisRecord."""
    return wire.pack({"value": value, "ballot": encode_ballot(ballot), "accepts": encode_accepts(accepts)})


def decode_record(data: bytes) -> GenesisRecord:
    """Return the record in `data`; ClusterError when it is none. Says nothing yet of its signatures."""
    fields = wire.Fields(wire.unpack(data), _WHERE)
    accepts = read_accepts(fields, "accepts", MAX_MACHINES, _WHERE)
    record = GenesisRecord(
        genesis=decode_genesis(fields.bytes("value", max=MAX_GENESIS)),
        ballot=decode_ballot(fields.bytes("ballot", exactly=BALLOT_BYTES), _WHERE),
        accepts=accepts,
    )
    fields.done()
    return record


def encode_accepts(accepts: Mapping[str, bytes]) -> list[bytes]:
    """Return the signatures in `accepts` (node ID -> signature) in their one form."""
    return [public_key_of(node) + signature for node, signature in sorted(accepts.items())]


def read_accepts(fields: wire.Fields, name: str, most: int, where: str) -> dict[str, bytes]:
    """Return the signatures in a field, by node ID; ClusterError unless they are in their one form."""
    entries = fields.many_bytes(name, most=most, exactly=_ACCEPT)
    accepts = {
        node_id_of(entry[: wire.PUBLIC_KEY_BYTES]): entry[wire.PUBLIC_KEY_BYTES :] for entry in entries
    }
    if len(accepts) != len(entries) or list(accepts) != sorted(accepts):
        raise ClusterError(f"{where}: its signatures are out of order, or there twice")
    return accepts


def verify_record(record: GenesisRecord, credential: Credential) -> None:
    """Raise ClusterError unless the record proves that its genesis founded the cluster of the credential."""
    check_genesis(record.genesis, credential)
    signers = [node_id for node_id in record.accepts if counts(credential, node_id)]
    needed = quorum(credential)
    if len(signers) < needed:
        raise ClusterError(
            f"{_WHERE} has {len(signers)} signatures that count; {needed} are needed for "
            f"{credential.machines} planned machines"
        )
    if not credential.machines and record.genesis.founders != tuple(signers):
        raise ClusterError(f"{_WHERE} is not signed by its one founder")
    verify_signatures(record)


def verify_signatures(record: GenesisRecord) -> None:
    """Raise ClusterError unless every signature in the record is good; says nothing of who counts."""
    value = encode_genesis(record.genesis)
    message = wire.pack(signed_body(record.genesis.cluster_id, record.ballot, hash_encoded(value)))
    for node_id, signature in record.accepts.items():
        verify(Signature(node_id, CONTEXT, signature), CONTEXT, message)


def open_record(data: bytes, credential: Credential) -> GenesisRecord:
    """Return the record in `data`; ClusterError unless it proves a genesis of the credential's cluster."""
    record = decode_record(data)
    verify_record(record, credential)
    return record
