# SPDX-License-Identifier: Apache-2.0
"""Take secrets out of what leaves the machine. Pure.

Three nets, each of which would be enough where everybody had kept to the rules: the very secrets of this
node, in every form in which they are written; whatever stands behind a name that says secret; and whatever
looks like a key of 32 bytes, public ones included.
"""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable

REMOVED = b"[removed]"
SHORTEST = 8  # bytes; what is shorter would be found everywhere

_NAMES = (
    rb"[\w.-]*(?:secret|passw(?:or)?d|passphrase|token|seed|credential|private[ _-]?key|gossip[_-]?key"
    rb"|encrypt[_-]?key|auth[_-]?key|preshared[ _-]?key|psk)"
)
# Name and value as JSON, YAML, shell and `wg` write them. A value in quotes ends with the quote.
_ASSIGNED = re.compile(
    rb"(?i)((?<![\w.-])[\"']?"
    + _NAMES
    + rb"[\"']?[ \t]*[:=][ \t]*)(\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s,;}\"']+)"
)
_PEM = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)
# systemd.set_credential=NAME:VALUE of the kernel's command line, which the journal holds.
_SET_CREDENTIAL = re.compile(rb"(set_credential(?:_binary)?=[^:\s]{1,200}:)[^\s]+")
_KEY = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{43}=(?![A-Za-z0-9+/_=-])")


def redact_values(data: bytes, secrets: Iterable[bytes]) -> bytes:
    """Return `data` without these secrets: raw, in base64 of both alphabets, and in hexadecimal digits."""
    for form in sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True):
        data = data.replace(form, REMOVED)
    return data


def redact(data: bytes, secrets: Iterable[bytes]) -> bytes:
    """Return text of any program without these secrets, and without what looks like one."""
    data = redact_values(data, secrets)
    data = _PEM.sub(REMOVED, data)
    data = _SET_CREDENTIAL.sub(rb"\1" + REMOVED, data)
    data = _ASSIGNED.sub(rb"\1" + REMOVED, data)
    return _KEY.sub(REMOVED, data)


def _forms(secret: bytes) -> Iterable[bytes]:
    if len(secret) < SHORTEST:
        return ()
    encoded = (b64encode(secret), urlsafe_b64encode(secret))
    stripped = tuple(form.rstrip(b"=") for form in encoded)
    return (secret, *encoded, *stripped, secret.hex().encode(), secret.hex().upper().encode())
