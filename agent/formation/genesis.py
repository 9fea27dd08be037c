# SPDX-License-Identifier: Apache-2.0
"""The genesis: how it is made, encoded, named and checked.

Its encoding is a body of agent/wire.py with keys of one letter, as it must fit into one Serf query together
with a ballot and a signature (MAX_GENESIS). Its hash is the SHA-256 of "cluster/genesis" NUL encoding, and
names the cluster instance. The signatures under it are no part of it: any quorum's will do (record.py).

The proposer makes the admission key, the Ed25519 key whose signature is a certificate of membership. Its seed
travels in a sealed box for each founder and is forgotten by a proposer that is no founder.
"""

from collections.abc import Callable, Mapping

from agent import wire
from agent.cluster import Credential, Genesis, Policy
from agent.errors import ClusterError
from agent.formation.ballot import HARDWARE_BYTES
from agent.identity import SEED_BYTES, identity_of_seed
from agent.membership.rules import MAX_MACHINES, VOTERS
from agent.membership.secrets import SEALED_OVERHEAD, open_sealed, seal_for
from agent.node_ids import node_id_of, public_key_of

MAX_FOUNDERS = 5
MAX_GENESIS = 880  # bytes
INSTANCE_BYTES = 16
HASH_BYTES = 32
_CONTEXT = "cluster/genesis"
_KEY = 32
_SEALED = SEED_BYTES + SEALED_OVERHEAD
_FOUNDER = _KEY + HARDWARE_BYTES + _SEALED
_WHERE = "the genesis"


def make_genesis(
    credential: Credential, founders: Mapping[str, str], random: Callable[[int], bytes]
) -> tuple[Genesis, bytes]:
    """Return a new genesis and the seed of its admission key (secret).

    `founders` maps the node ID of each to its hardware fingerprint; `random(n)` gives n random bytes. The
    sealed boxes take their own randomness from libsodium.
    """
    seed = random(SEED_BYTES)
    boxes = seal_for(seed, founders)
    genesis = Genesis(
        cluster_id=credential.cluster_id,
        name=credential.name,
        instance=random(INSTANCE_BYTES),
        machines=credential.machines,
        voters=credential.voters,
        policy=credential.policy,
        allowlist_digest=digest_allowlist(credential.allowlist),
        ipv4_range=credential.ipv4_range,
        operator_key=credential.operator_key,
        admission_key=identity_of_seed(seed).public_key,
        founders=tuple(sorted(founders)),
        hardware=tuple(founders[node_id] for node_id in sorted(founders)),
        sealed=tuple(boxes[node_id] for node_id in sorted(founders)),
    )
    return genesis, seed


def digest_allowlist(allowlist: tuple[str, ...]) -> bytes:
    """Return the SHA-256 (32 bytes) of an allowlist, in whatever order it is."""
    return wire.digest("cluster/allowlist", wire.pack({"allowlist": sorted(allowlist)}))


def open_admission_seed(genesis: Genesis, seed: bytes) -> bytes | None:
    """Return the seed of the admission key, for a founder; None for any other node. Secret.

    `seed` is that of the node. Raises ClusterError when the founder's box holds no such seed.
    """
    node_id = identity_of_seed(seed).node_id
    if node_id not in genesis.founders:
        return None
    found = open_sealed(seed, genesis.sealed[genesis.founders.index(node_id)])
    if len(found) != SEED_BYTES or identity_of_seed(found).public_key != genesis.admission_key:
        raise ClusterError("the genesis holds for this node another key than the admission key")
    return found


def genesis_hash(genesis: Genesis) -> str:
    """Return the name of the cluster instance: 64 hexadecimal digits."""
    return hash_encoded(encode_genesis(genesis))


def hash_encoded(value: bytes) -> str:
    """Return the hash of an encoded genesis: 64 hexadecimal digits."""
    return wire.digest(_CONTEXT, value).hex()


def encode_genesis(genesis: Genesis) -> bytes:
    """Return the one encoding of a genesis, at most MAX_GENESIS bytes."""
    founders = [
        public_key_of(node_id) + bytes.fromhex(hardware) + box
        for node_id, hardware, box in zip(genesis.founders, genesis.hardware, genesis.sealed, strict=True)
    ]
    return wire.pack(
        {
            "a": genesis.admission_key,
            "c": genesis.cluster_id,
            "f": founders,
            "i": genesis.instance,
            "l": genesis.allowlist_digest,
            "m": genesis.machines,
            "n": genesis.name,
            "o": genesis.operator_key,
            "p": genesis.policy.value,
            "r": genesis.ipv4_range,
            "v": genesis.voters,
        }
    )


def decode_genesis(data: bytes) -> Genesis:
    """Return the genesis in `data`; ClusterError when it is none, or one that contradicts itself."""
    fields = wire.Fields(wire.unpack(data, MAX_GENESIS), _WHERE)
    entries = fields.many_bytes("f", most=MAX_FOUNDERS, exactly=_FOUNDER)
    genesis = Genesis(
        cluster_id=fields.text("c", min=26, max=26),
        name=fields.text("n", max=32),
        instance=fields.bytes("i", exactly=INSTANCE_BYTES),
        machines=fields.integer("m", 0, MAX_MACHINES),
        voters=fields.integer("v", min(VOTERS), max(VOTERS)),
        policy=Policy(fields.choice("p", tuple(policy.value for policy in Policy))),
        allowlist_digest=fields.bytes("l", exactly=HASH_BYTES),
        ipv4_range=fields.text("r", max=18),
        operator_key=fields.bytes("o", exactly=_KEY),
        admission_key=public_key_of(fields.node("a")),
        founders=tuple(node_id_of(entry[:_KEY]) for entry in entries),
        hardware=tuple(entry[_KEY:-_SEALED].hex() for entry in entries),
        sealed=tuple(entry[-_SEALED:] for entry in entries),
    )
    fields.done()
    _check_founders(genesis)
    return genesis


def check_genesis(genesis: Genesis, credential: Credential) -> None:
    """Raise ClusterError unless the genesis is one of the cluster that the credential is for.

    The allowlist is not compared: an operator may add to it after the cluster was founded.
    """
    pairs = {
        "cluster id": (genesis.cluster_id, credential.cluster_id),
        "operator's key": (genesis.operator_key, credential.operator_key),
        "name": (genesis.name, credential.name),
        "number of machines": (genesis.machines, credential.machines),
        "number of voters": (genesis.voters, credential.voters),
        "policy": (genesis.policy, credential.policy),
        "IPv4 range": (genesis.ipv4_range, credential.ipv4_range),
    }
    for what, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise ClusterError(
                f"{_WHERE} has another {what} than the join credential of this node",
                hint="give all machines of a cluster a credential of the same bundle: "
                "./build.py cluster credential NAME",
            )
    _check_founders(genesis)


def _check_founders(genesis: Genesis) -> None:
    # Without a planned number a founding medium founds alone.
    most = min(MAX_FOUNDERS, genesis.voters, max(1, genesis.machines))
    if not 1 <= len(genesis.founders) <= most:
        raise ClusterError(f"{_WHERE} has {len(genesis.founders)} founders; 1 to {most} are allowed")
    if list(genesis.founders) != sorted(set(genesis.founders)):
        raise ClusterError(f"{_WHERE} has founders that are out of order, or there twice")
