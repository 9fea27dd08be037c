# SPDX-License-Identifier: Apache-2.0
"""Check the release signature over SHA256SUMS, and the files of the folder against it."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.errors import ClusterError
from image import minisign
from image.checksums import NAME, hash_file, parse_checksums
from image.verification.findings import Finding

SIGNATURE = f"{NAME}.minisig"
# The one line of a signature file that nothing protects: as we write it, and as stock minisign does.
_STOCK_COMMENT = "signature from minisign secret key"


def check_signature(directory: Path, key: minisign.PublicKey) -> Iterator[Finding]:
    """Check the signature of SHA256SUMS."""
    file = directory / SIGNATURE
    text = minisign.read_key_text(file)
    signature = minisign.parse_signature(text, SIGNATURE)
    expected = minisign.describe_signer(key)
    if signature.untrusted_comment not in (expected, _STOCK_COMMENT):
        yield Finding(f"{SIGNATURE}, line 1", repr(expected), repr(signature.untrusted_comment))
    try:
        minisign.verify_file(directory / NAME, signature, key)
    except ClusterError as error:
        yield Finding(NAME, f"a valid signature by release key {key.name}", error.message)


def read_sums(directory: Path) -> dict[str, str]:
    """Return the digests of SHA256SUMS by file name; raises ClusterError."""
    try:
        return parse_checksums((directory / NAME).read_text(encoding="utf-8"), NAME)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ClusterError(f"cannot read {NAME}: {reason}", hint="download it again") from None
    except UnicodeDecodeError:
        raise ClusterError(f"{NAME} is not a text file", hint="download it again") from None


def check_digests(directory: Path, sums: Mapping[str, str]) -> Iterator[Finding]:
    """Check the digest of each listed file, and that there are no others."""

    def check(name: str) -> Finding | None:
        file = directory / name
        if file.is_symlink() or not file.is_file():
            return Finding(name, f"a file with SHA-256 {sums[name]}", _kind(file))
        try:
            digest = hash_file(file)
        except OSError as error:
            return Finding(name, f"SHA-256 {sums[name]}", (error.strerror or str(error)).lower())
        return None if digest == sums[name] else Finding(name, f"SHA-256 {sums[name]}", digest)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield from filter(None, threads.map(check, sums))
    listed = {*sums, NAME, SIGNATURE}
    for file in sorted(directory.rglob("*")):
        name = str(file.relative_to(directory))
        if name not in listed and (file.is_symlink() or not file.is_dir()):
            yield Finding(name, f"only files that {NAME} lists", "one more")


def _kind(file: Path) -> str:
    if file.is_symlink():
        return "a symbolic link"
    return "something else" if file.exists() else "nothing"
