# SPDX-License-Identifier: Apache-2.0
"""How two ends of a connection prove to each other that they know the secret of a role. Pure.

The mesh encrypts, and tells which machine sends; but any user of a machine can connect from it. So, with S
the secret, and before anything else:

    keeper   "coscopy1", 32 random bytes K
    holder   32 random bytes H, HMAC-SHA256(S, "holder" NUL K H)
    keeper   HMAC-SHA256(S, "keeper" NUL K H)
"""

import hmac

HELLO = b"coscopy1"
NONCE = 32
PROOF = 32
MIN_SECRET = 16  # bytes


def prove(secret: bytes, role: bytes, keeper: bytes, holder: bytes) -> bytes:
    """Return the proof of the end `role` (b"holder" or b"keeper") for the two random parts."""
    return hmac.digest(secret, role + b"\0" + keeper + holder, "sha256")


def is_proof(found: bytes, secret: bytes, role: bytes, keeper: bytes, holder: bytes) -> bool:
    """Tell whether `found` is what `prove` gives."""
    return hmac.compare_digest(found, prove(secret, role, keeper, holder))
