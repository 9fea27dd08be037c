# SPDX-License-Identifier: Apache-2.0
"""What makes this node a member, on its disk: genesis record, ledger, secrets. Owns those three files.

They are written in the order secrets, ledger, genesis: the genesis record is what says that the node belongs
to a cluster, so an interruption before it leaves a node that asks to join again, and gets the same answer.
A file that is damaged is refused and named, never overwritten.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from agent import files
from agent.cluster import Credential, Genesis, Ledger
from agent.errors import ClusterError
from agent.formation.genesis import genesis_hash, open_admission_seed
from agent.formation.record import decode_record, open_record, verify_signatures
from agent.membership import ledger as ledgers
from agent.membership import ledger_file
from agent.membership.secrets import (
    ADMISSION,
    GOSSIP,
    NodeSecrets,
    decode_at_rest,
    derive_raft_password,
    encode_at_rest,
    open_sealed,
)
from agent.service.place import Place


@dataclass(frozen=True)
class Membership:
    """The cluster that this node follows."""

    record: bytes = field(repr=False)  # the genesis record
    genesis: Genesis = field(repr=False)
    ledger: Ledger = field(repr=False)
    secrets: NodeSecrets = field(repr=False)

    @property
    def hash(self) -> str:
        """Hash of the genesis."""
        return self.secrets.genesis


def found(record: bytes, credential: Credential, seed: bytes) -> Membership:
    """Return the membership of a founder; ClusterError when the record does not name the node of `seed`."""
    genesis = open_record(record, credential).genesis
    admission = open_admission_seed(genesis, seed)
    if admission is None:
        raise ClusterError("this node is none of the founders")
    ledger = ledgers.begin(genesis)
    secrets = NodeSecrets(
        genesis=genesis_hash(genesis),
        gossip_version=1,
        gossip_key=credential.gossip_key,
        raft_password=derive_raft_password(admission),
        admission_seed=admission,
    )
    return Membership(record, genesis, ledger, secrets)


def load(place: Place, seed: bytes) -> Membership | None:
    """Return the membership on the disk, None when there is none; ClusterError names a damaged file."""
    record = _read(place.genesis)
    if record is None:
        return None
    genesis = _read_genesis(record, place.genesis)
    secrets, ledger = _read(place.secrets), _read(place.ledger)
    for path, content in ((place.secrets, secrets), (place.ledger, ledger)):
        if content is None:
            raise ClusterError(f"{path} is missing beside {place.genesis.name}", hint=_HINT)
    assert secrets is not None
    assert ledger is not None
    found = Membership(
        record,
        genesis,
        ledger_file.decode_ledger(ledger, str(place.ledger)),
        decode_at_rest(secrets, seed, str(place.secrets)),
    )
    if {genesis_hash(genesis), found.ledger.genesis} != {found.hash}:
        raise ClusterError(
            f"{place.genesis}, ledger and secrets beside it are of more than one cluster", hint=_HINT
        )
    return found


def save(place: Place, membership: Membership, before: Membership | None, seed: bytes) -> None:
    """Write what changed since `before`; what has returned survives a power cut."""
    if before is None or before.secrets != membership.secrets:
        files.replace(place.secrets, encode_at_rest(membership.secrets, seed), mode=0o600)
    if before is None or ledger_file.differs_durably(before.ledger, membership.ledger):
        files.replace(place.ledger, ledger_file.encode_ledger(membership.ledger), mode=0o600)
    if before is None or before.record != membership.record:
        files.replace(place.genesis, membership.record, mode=0o600)


def forget(place: Place) -> None:
    """Remove all that makes this node a member, the genesis record first."""
    for path in (place.genesis, place.ledger, place.secrets):
        files.remove(path)


def follow(membership: Membership, ledger: Ledger, me: str, seed: bytes) -> Membership:
    """Return the membership with a newer ledger, and with the keys that the ledger has for this node."""
    secrets = membership.secrets
    gossip = ledger.secrets.get(GOSSIP)
    if gossip and gossip.version > secrets.gossip_version and me in gossip.sealed:
        secrets = replace(
            secrets, gossip_version=gossip.version, gossip_key=open_sealed(seed, gossip.sealed[me])
        )
    admission = ledger.secrets.get(ADMISSION)
    if secrets.admission_seed is None and admission and me in admission.sealed:
        secrets = replace(secrets, admission_seed=open_sealed(seed, admission.sealed[me]))
    return replace(membership, ledger=ledger, secrets=secrets)


_HINT = (
    "it was left as it is: restore it from a backup; or, where other voters are left, remove the folder that "
    "it is in, and the node joins again"
)


def _read_genesis(record: bytes, path: Path) -> Genesis:
    """Return the genesis of a record that this node once believed."""
    try:
        found = decode_record(record)
        verify_signatures(found)
    except ClusterError as error:
        raise ClusterError(f"{path} is damaged: {error.message}", hint=_HINT) from None
    return found.genesis


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint="check the disk"
        ) from None
