# SPDX-License-Identifier: Apache-2.0
"""Sign and verify files in minisign's format, and read and write its keys.

Format: https://jedisct1.github.io/minisign/#signature-format (prehashed kind, `ED`: Ed25519 over BLAKE2b-512
of the file). Secret keys are kept in minisign's own form without a password, so that stock minisign can use
them.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from agent.errors import ClusterError

_KEY_KIND = b"Ed"
_SIGNATURE_KIND = b"ED"
_NO_PASSWORD = b"\0\0"
_CHECKSUM_KIND = b"B2"
_KDF_SIZE = 32 + 8 + 8  # salt, operations limit, memory limit: all zero without a password
_UNTRUSTED = "untrusted comment: "
_TRUSTED = "trusted comment: "
_ONE_LINE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_LARGEST_FILE = 16384  # bytes of a key or signature file; the real ones have some 300


@dataclass(frozen=True)
class PublicKey:
    """A release key as others see it: `identifier` is 8 bytes, `key` 32."""

    identifier: bytes
    key: bytes

    @property
    def name(self) -> str:
        """The identifier as minisign prints it: a little-endian number in hexadecimal."""
        return self.identifier[::-1].hex().upper()


@dataclass(frozen=True, repr=False)
class SecretKey:
    """The secret half: `seed` is 32 bytes."""

    identifier: bytes
    seed: bytes

    @property
    def public(self) -> PublicKey:
        """The public key that belongs to it."""
        return PublicKey(self.identifier, bytes(SigningKey(self.seed).verify_key))


@dataclass(frozen=True)
class Signature:
    """A parsed signature file: `signature` covers the file, `global_signature` it and the comment."""

    identifier: bytes
    signature: bytes
    global_signature: bytes
    untrusted_comment: str
    trusted_comment: str


def generate_key() -> SecretKey:
    """Make a new release key."""
    key = SigningKey.generate()
    return SecretKey(hashlib.blake2b(bytes(key.verify_key), digest_size=8).digest(), bytes(key))


def encode_public_key(key: PublicKey, comment: str = "") -> str:
    """Return the content of a public key file."""
    comment = comment or f"minisign public key {key.name}"
    return f"{_UNTRUSTED}{comment}\n{_encode(_KEY_KIND + key.identifier + key.key)}\n"


def parse_public_key(text: str, name: str) -> PublicKey:
    """Read a public key file, or its second line alone; `name` is for the error message."""
    lines = text.split("\n")
    line = lines[1] if text.startswith(_UNTRUSTED) and len(lines) > 1 else lines[0]
    data = _decode(line.removesuffix("\r"))
    if len(data) != 42 or data[:2] != _KEY_KIND:
        raise ClusterError(
            f"{name} is not a minisign public key", hint="give the release.pub of the publisher"
        )
    return PublicKey(data[2:10], data[10:])


def encode_secret_key(key: SecretKey, comment: str) -> str:
    """Return the content of a secret key file without a password."""
    pair = key.identifier + key.seed + key.public.key
    check = hashlib.blake2b(_KEY_KIND + pair, digest_size=32).digest()
    data = _KEY_KIND + _NO_PASSWORD + _CHECKSUM_KIND + bytes(_KDF_SIZE) + pair + check
    return f"{_UNTRUSTED}{comment}\n{_encode(data)}\n"


def parse_secret_key(text: str, name: str) -> SecretKey:
    """Read a secret key file without a password; `name` is for the error message."""
    lines = text.split("\n")
    data = _decode(lines[1]) if text.startswith(_UNTRUSTED) and len(lines) > 1 else b""
    if len(data) != 158 or data[:2] != _KEY_KIND:
        raise ClusterError(
            f"{name} is not a minisign secret key", hint="make keys with ./build.py keys new DIR"
        )
    if data[2:4] != _NO_PASSWORD:
        raise ClusterError(f"{name} has a password", hint=f"take it off: minisign -C -W -s {name}")
    pair, check = data[6 + _KDF_SIZE : -32], data[-32:]
    key = SecretKey(pair[:8], pair[8:40])
    # Stock minisign 0.12 leaves the checksum of a key without a password empty.
    known = (hashlib.blake2b(_KEY_KIND + pair, digest_size=32).digest(), bytes(32))
    if check not in known or key.public.key != pair[40:]:
        raise ClusterError(f"{name} is damaged", hint="restore it from your backup")
    return key


def sign_file(file: Path, key: SecretKey, *, timestamp: int) -> str:
    """Return the content of the signature file for `file`; the same input gives the same bytes.

    `timestamp` in seconds since 1970 goes into the trusted comment, as does the name of the file.
    """
    if not _ONE_LINE.fullmatch(file.name):
        raise ClusterError(f"cannot sign {file.name!r}: its name has control characters", hint="rename it")
    signer = SigningKey(key.seed)
    signature = signer.sign(_digest(file)).signature
    comment = f"timestamp:{timestamp}\tfile:{file.name}\thashed"
    return encode_signature(
        Signature(
            key.identifier,
            signature,
            signer.sign(signature + comment.encode()).signature,
            describe_signer(key.public),
            comment,
        )
    )


def describe_signer(key: PublicKey) -> str:
    """Return the untrusted comment of our signatures."""
    return f"signature from Cluster-OS release key {key.name}"


def encode_signature(signature: Signature) -> str:
    """Return the content of a signature file."""
    return (
        f"{_UNTRUSTED}{signature.untrusted_comment}\n"
        f"{_encode(_SIGNATURE_KIND + signature.identifier + signature.signature)}\n"
        f"{_TRUSTED}{signature.trusted_comment}\n"
        f"{_encode(signature.global_signature)}\n"
    )


def parse_signature(text: str, name: str) -> Signature:
    """Read a signature file; only the one way of writing it is taken. `name` is for the error message."""
    lines = text.split("\n")
    if len(lines) == 5 and lines[0].startswith(_UNTRUSTED) and lines[2].startswith(_TRUSTED):
        data, global_signature = _decode(lines[1]), _decode(lines[3])
        comments = lines[0].removeprefix(_UNTRUSTED), lines[2].removeprefix(_TRUSTED)
        whole = len(data) == 74 and data[:2] == _SIGNATURE_KIND and len(global_signature) == 64
        found = Signature(data[2:10], data[10:], global_signature, *comments)
        if whole and encode_signature(found) == text:
            return found
    raise ClusterError(f"{name} is not a minisign signature", hint="download it again")


def verify_file(file: Path, signature: Signature, key: PublicKey) -> None:
    """Raise ClusterError unless `signature` over `file` and its trusted comment was made with `key`."""
    if signature.identifier != key.identifier:
        made = PublicKey(signature.identifier, b"").name
        raise ClusterError(f"{file.name} is signed with key {made}, not {key.name}", hint="ask the publisher")
    verifier = VerifyKey(key.key)
    try:
        verifier.verify(_digest(file), signature.signature)
        verifier.verify(signature.signature + signature.trusted_comment.encode(), signature.global_signature)
    except BadSignatureError:
        raise ClusterError(
            f"the signature of {file.name} is not valid", hint="do not use these files; download them again"
        ) from None


def read_key_text(file: Path) -> str:
    """Return the text of a key or signature file; ClusterError says why it cannot be read."""
    try:
        with file.open("rb") as content:
            data = content.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            raise ClusterError(f"{file} is too large for a key or signature", hint="is it the right file?")
        return data.decode()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ClusterError(
            f"cannot read {file}: {reason}", hint="check the path and its permissions"
        ) from None
    except UnicodeDecodeError:
        raise ClusterError(f"{file} is not a text file", hint="is it the right file?") from None


def _digest(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "blake2b").digest()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
