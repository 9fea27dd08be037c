# SPDX-License-Identifier: Apache-2.0
"""Fetch in parts what is longer than one answer of Serf: query `cos-blob`. Pure.

Question, signed by who asks in the context `cluster/blob`: {"hash": SHA-256 of the whole, "offset": n}.
Answer, signed by who has it in the context `cluster/blob-part`: {"data", "hash", "offset", "size"}.

The whole is checked against its hash; what it says is for its reader to check.
"""

import hashlib
from dataclasses import dataclass, replace

from agent import wire
from agent.discovery.query_size import ANSWER_ROOM
from agent.errors import ClusterError

QUERY = "cos-blob"
ASK = "cluster/blob"
PART = "cluster/blob-part"
PART_BYTES = ANSWER_ROOM - 250
"""The rest is the envelope and the other fields of a part."""
MAX_BYTES = 256 << 10


@dataclass(frozen=True)
class Fetch:
    """A blob that is being fetched: what came so far, in order."""

    digest: bytes
    size: int
    data: bytes = b""

    def __post_init__(self) -> None:
        if len(self.digest) != 32 or not 0 < self.size <= MAX_BYTES:
            raise ClusterError(f"a blob of {self.size} bytes is not fetched")

    @property
    def done(self) -> bool:
        """True when all of it is there."""
        return len(self.data) == self.size


def ask(fetch: Fetch, seed: bytes) -> bytes:
    """Return the question for the next part."""
    return wire.seal(seed, ASK, {"hash": fetch.digest, "offset": len(fetch.data)})


def answer(question: bytes, blobs: dict[bytes, bytes], seed: bytes) -> bytes | None:
    """Return the part of one of `blobs` that is asked for; None when it is not here."""
    _, body = wire.open(question, ASK, wire.MAX_QUERY)
    fields = wire.Fields(body, "a question for a blob")
    digest, offset = fields.bytes("hash", exactly=32), fields.integer("offset", 0, MAX_BYTES)
    fields.done()
    blob = blobs.get(digest)
    if blob is None or offset >= len(blob):
        return None
    part = blob[offset : offset + PART_BYTES]
    return wire.seal(seed, PART, {"data": part, "hash": digest, "offset": offset, "size": len(blob)})


def take(fetch: Fetch, part: bytes) -> Fetch:
    """Return the fetch with one more part; one that is not the next part of it changes nothing.

    Raises ClusterError when the whole is not what its hash says: begin again, with somebody else.
    """
    _, body = wire.open(part, PART, wire.MAX_QUERY)
    fields = wire.Fields(body, "a part of a blob")
    digest, offset = fields.bytes("hash", exactly=32), fields.integer("offset", 0, MAX_BYTES)
    data, size = fields.bytes("data", max=PART_BYTES), fields.integer("size", 1, MAX_BYTES)
    fields.done()
    if (digest, offset, size) != (fetch.digest, len(fetch.data), fetch.size) or not data:
        return fetch
    fetch = replace(fetch, data=fetch.data + data)
    if len(fetch.data) > fetch.size or (fetch.done and hashlib.sha256(fetch.data).digest() != fetch.digest):
        raise ClusterError("a blob is not what its hash says")
    return fetch
