# SPDX-License-Identifier: Apache-2.0
"""The secrets of roles as they stand in the ledger's sealed boxes. Pure but for randomness.

In a box: 8 bytes, big-endian, how many nodes had been removed when the secret was made, then its bytes. So
the next holder of the role sees that a node knows it which is no member any more.
"""

from nacl.utils import random

from agent.cluster import Ledger
from agent.errors import ClusterError
from agent.membership.secrets import open_sealed
from agent.roles.role import Form, SharedSecret

_HEAD = 8


def make(secret: SharedSecret, ledger: Ledger) -> bytes:
    """Return new random bytes, as they go into boxes."""
    content: bytes = random(secret.bytes)
    return join(len(ledger.removed), content.hex().encode() if secret.form is Form.HEX else content)


def join(removals: int, content: bytes) -> bytes:
    """Return what `read` gave as it goes into boxes."""
    return removals.to_bytes(_HEAD) + content


def read(ledger: Ledger, name: str, me: str, seed: bytes) -> tuple[int, bytes] | None:
    """Return how many nodes had been removed when it was made, and the bytes; None without a box for `me`."""
    known = ledger.secrets.get(name)
    if known is None or me not in known.sealed:
        return None
    content = open_sealed(seed, known.sealed[me])
    if len(content) <= _HEAD:
        raise ClusterError(f"the secret {name} is damaged")
    return int.from_bytes(content[:_HEAD]), content[_HEAD:]
