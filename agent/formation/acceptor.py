# SPDX-License-Identifier: Apache-2.0
"""The acceptor: what a node has promised and accepted, which it must never forget. Pure.

Each handler returns the new state and the answer. When the state changed, the caller writes `encode_state` to
the disk and forces it there BEFORE the answer leaves: an answer that a crash makes the node forget may let
two geneses be decided. When that cannot be written, the answer is not sent and the old state stays.

forming.msgpack holds the SHA-256 of "cluster/forming-state" NUL body, and the body (agent/wire.py):
`version` (1), `cluster`, `promised` (46 bytes or nil), `ballot` and `value` of the vote (or nil). A file that
is damaged or another cluster's is refused and stays as it is: to begin without it would be to forget.
"""

from dataclasses import dataclass, replace

from agent import wire
from agent.errors import ClusterError
from agent.formation.ballot import BALLOT_BYTES, Ballot, Vote, decode_ballot, encode_ballot
from agent.formation.genesis import HASH_BYTES, MAX_GENESIS, decode_genesis, hash_encoded
from agent.formation.messages import Accept, Accepted, Nack, Prepare, Promise

VERSION = 1
MAX_STATE = 2048
_CONTEXT = "cluster/forming-state"
_HINT = (
    "it was left as it is, and this node takes no part in forming; restore it, or wipe /var to make the "
    "machine a new node"
)


@dataclass(frozen=True)
class State:
    promised: Ballot | None = None  # no lower ballot gets anything from this node
    vote: Vote | None = None  # the last that was given; its ballot is at most `promised`


def prepare(state: State, message: Prepare, hardware: str) -> tuple[State, Promise | Nack]:
    """Answer the question for a promise; `hardware` is this node's fingerprint."""
    if state.promised is not None and message.ballot < state.promised:
        return state, Nack(message.ballot, state.promised)
    # The same ballot again is the same attempt, whose answer was lost.
    return replace(state, promised=message.ballot), Promise(message.ballot, hardware, state.vote)


def accept(state: State, message: Accept) -> tuple[State, Accepted | Nack]:
    """Answer the question for a vote. Whether the value is a good one is the caller's question."""
    if state.promised is not None and message.ballot < state.promised:
        return state, Nack(message.ballot, state.promised)
    vote = Vote(message.ballot, message.value)
    # One ballot, one value: only two machines with one key and one fingerprint would bring a second.
    if state.vote is not None and state.vote.ballot == vote.ballot and state.vote != vote:
        return state, Nack(message.ballot, message.ballot)
    return State(message.ballot, vote), Accepted(message.ballot, hash_encoded(message.value))


def encode_state(state: State, cluster_id: str) -> bytes:
    """Return the content of forming.msgpack."""
    body = wire.pack(
        {
            "version": VERSION,
            "cluster": cluster_id,
            "promised": encode_ballot(state.promised) if state.promised else None,
            "ballot": encode_ballot(state.vote.ballot) if state.vote else None,
            "value": state.vote.value if state.vote else None,
        }
    )
    return wire.digest(_CONTEXT, body) + body


def decode_state(data: bytes, cluster_id: str, where: str) -> State:
    """Return the state in `data`, the content of the file named `where`.

    Raises ClusterError when it is damaged or belongs to another cluster than `cluster_id`.
    """
    try:
        cluster, state = _decode(data)
    except ClusterError as error:
        raise ClusterError(f"{where} is damaged: {error.message}", hint=_HINT) from None
    if cluster != cluster_id:
        raise ClusterError(
            f"{where} belongs to another cluster ({cluster}) than the join credential ({cluster_id})",
            hint="give the machine the credential that it had, or wipe /var to make it a new node",
        )
    return state


def _decode(data: bytes) -> tuple[str, State]:
    body = data[HASH_BYTES:]
    if len(data) > MAX_STATE or wire.digest(_CONTEXT, body) != data[:HASH_BYTES]:
        raise ClusterError("its checksum is wrong")
    fields = wire.Fields(wire.unpack(body, MAX_STATE), "its content")
    fields.integer("version", VERSION, VERSION)
    cluster = fields.text("cluster", max=26)
    promised = None if fields.nil("promised") else _ballot(fields, "promised")
    vote = None
    without_ballot, without_value = fields.nil("ballot"), fields.nil("value")
    if not (without_ballot and without_value):
        vote = Vote(_ballot(fields, "ballot"), fields.bytes("value", max=MAX_GENESIS))
        decode_genesis(vote.value)
        if promised is None or vote.ballot > promised:
            raise ClusterError("it holds a vote without the promise")
    fields.done()
    return cluster, State(promised, vote)


def _ballot(fields: wire.Fields, name: str) -> Ballot:
    return decode_ballot(fields.bytes(name, exactly=BALLOT_BYTES), name)
