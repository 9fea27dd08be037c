# SPDX-License-Identifier: Apache-2.0
"""Ballots, the numbers of Paxos, and the vote that an acceptor gave. Pure.

A ballot must belong to one attempt of one machine. Its round makes it new, its node ID makes it that node's,
and its hardware fingerprint keeps a cloned disk from using the ballots of the original: with that, forming is
safe even beside clones, as long as all machines together are no more than planned.

On the wire it is 46 bytes: round (8, big-endian), public key (32), hardware fingerprint (6).
"""

from dataclasses import dataclass

from agent.errors import ClusterError
from agent.node_ids import node_id_of, public_key_of

HARDWARE_BYTES = 6
BALLOT_BYTES = 8 + 32 + HARDWARE_BYTES
MAX_ROUND = 2**63 - 1


@dataclass(frozen=True, order=True)
class Ballot:
    round: int  # from 1 on
    node_id: str
    hardware: str  # 12 hexadecimal digits


@dataclass(frozen=True)
class Vote:
    """What an acceptor accepted, and in which ballot."""

    ballot: Ballot
    value: bytes  # an encoded genesis


def encode_ballot(ballot: Ballot) -> bytes:
    """Return the 46 bytes of a ballot."""
    key = public_key_of(ballot.node_id)
    return ballot.round.to_bytes(8) + key + bytes.fromhex(ballot.hardware)


def decode_ballot(data: bytes, where: str) -> Ballot:
    """Return the ballot in `data`, a part of what `where` names; ClusterError when it is none."""
    if len(data) != BALLOT_BYTES or not 1 <= int.from_bytes(data[:8]) <= MAX_ROUND:
        raise ClusterError(f"{where}: not a ballot")
    node_id = node_id_of(data[8:40])
    return Ballot(int.from_bytes(data[:8]), node_id, data[40:].hex())
