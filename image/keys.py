# SPDX-License-Identifier: Apache-2.0
"""The keys that sign images: made once by `./build.py keys new DIR`, loaded and checked for each build.

Owns the folder that they lie in. Nothing here writes a secret anywhere else.
"""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from agent.errors import ClusterError
from image import minisign
from image.certificates import (
    HINT_NEW,
    certify,
    encode_private,
    encode_public,
    fingerprint_certificate,
    fingerprint_public_key,
    generate_key,
    parse_pair,
    public_key_of,
)
from image.manifest import KeyFingerprints

_MARKER = "DEVELOPMENT"
# What each file is for; also the text of the README beside them.
PURPOSES = {
    "secureboot.key": "SECRET. Signs the boot loader, the kernel image and the root hash (RSA).",
    "secureboot.crt": "Its certificate: firmware that has it enrolled boots images signed with the key.",
    "pcr.key": "SECRET. Signs the TPM measurements of a kernel image, which unlock the encrypted /var (RSA).",
    "pcr.crt": "Its certificate, as the build tools want it.",
    "pcr.pub": "Its public key: /var of each machine is bound to it, so a new one needs a new /var.",
    "release.key": "SECRET. Signs SHA256SUMS of a release (Ed25519, minisign's format without a password).",
    "release.pub": "Its public key, to publish: minisign and ./build.py verify check downloads with it.",
}
_DEVELOPMENT_TEXT = (
    "Keys for development: they lie unprotected on a build machine. Never release with them.\n"
)


@dataclass(frozen=True)
class KeySet:
    """A checked set of keys in a folder; `development` keys must never sign a release."""

    directory: Path
    development: bool
    fingerprints: KeyFingerprints

    @property
    def secure_boot_key(self) -> Path:
        """RSA private key for Secure Boot and dm-verity (PEM)."""
        return self.directory / "secureboot.key"

    @property
    def secure_boot_certificate(self) -> Path:
        """X.509 certificate of the Secure Boot and dm-verity key (PEM)."""
        return self.directory / "secureboot.crt"

    @property
    def pcr_key(self) -> Path:
        """RSA private key for PCR signatures (PEM)."""
        return self.directory / "pcr.key"

    @property
    def pcr_certificate(self) -> Path:
        """X.509 certificate of the PCR key (PEM)."""
        return self.directory / "pcr.crt"

    @property
    def pcr_public_key(self) -> Path:
        """Public half of the PCR key (PEM)."""
        return self.directory / "pcr.pub"

    @property
    def release_key(self) -> Path:
        """Ed25519 private key for releases (minisign's format)."""
        return self.directory / "release.key"

    @property
    def release_public_key(self) -> Path:
        """Public half of the release key (minisign's format)."""
        return self.directory / "release.pub"

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the fingerprints of all keys, in hexadecimal: changes when any key does."""
        prints = self.fingerprints
        return hashlib.sha256(f"{prints.secure_boot} {prints.pcr} {prints.release}".encode()).hexdigest()


def make_keys(directory: Path, *, development: bool) -> KeySet:
    """Make a new set of keys in `directory`, which must not exist yet or be empty.

    The folder appears complete or not at all. Raises ClusterError where there is something already, or where
    it cannot be written.
    """
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise ClusterError(f"{directory} is not a folder", hint="name a new folder for the keys")
    try:
        if directory.exists() and any(directory.iterdir()):
            raise _refuse(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise _cannot("make keys in", directory, error) from None
    try:
        _fill(new, development=development)
        new.rename(directory)
    except FileExistsError:
        raise _refuse(directory) from None
    except OSError as error:
        if directory.is_dir() and any(directory.iterdir()):
            raise _refuse(directory) from None
        raise _cannot("make keys in", directory, error) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return load_keys(directory)


def load_keys(directory: Path) -> KeySet:
    """Load the keys of `directory` and check that they are what they should be and fit together."""
    if not directory.is_dir():
        raise ClusterError(f"there is no folder {directory} with keys", hint=HINT_NEW)
    certificate = _load_pair(directory, "secureboot")
    pcr_certificate = _load_pair(directory, "pcr")
    pcr_public = _read(directory / "pcr.pub", secret=False)
    if pcr_public != encode_public(public_key_of(pcr_certificate)):
        raise ClusterError(
            f"{directory / 'pcr.pub'} does not belong to pcr.key", hint="restore it from your backup"
        )
    secret_file, public_file = directory / "release.key", directory / "release.pub"
    secret = minisign.parse_secret_key(
        _read(secret_file, secret=True).decode(errors="replace"), str(secret_file)
    )
    public = minisign.parse_public_key(
        _read(public_file, secret=False).decode(errors="replace"), str(public_file)
    )
    if secret.public != public:
        raise ClusterError(
            f"{public_file} does not belong to release.key", hint="restore it from your backup"
        )
    prints = KeyFingerprints(
        release=public.name,
        secure_boot=fingerprint_certificate(certificate),
        pcr=fingerprint_public_key(public_key_of(pcr_certificate)),
    )
    return KeySet(directory, (directory / _MARKER).exists(), prints)


def load_release_key(keys: KeySet) -> minisign.SecretKey:
    """Read the secret release key, for `minisign.sign_file`."""
    return minisign.parse_secret_key(_read(keys.release_key, secret=True).decode(), str(keys.release_key))


def describe_keys(keys: KeySet) -> str:
    """Return for each file in the folder of `keys` a line that says what it is for, and the fingerprints."""
    width = max(map(len, PURPOSES))
    lines = [f"{keys.directory}:", *(f"  {name:<{width}}  {text}" for name, text in PURPOSES.items())]
    prints = keys.fingerprints
    lines += [
        f"fingerprint of secureboot.crt  SHA-256 {prints.secure_boot}",
        f"fingerprint of pcr.pub         SHA-256 {prints.pcr}",
        f"identifier of release.pub      {prints.release}",
    ]
    if keys.development:
        lines.append(_DEVELOPMENT_TEXT.strip())
    return "\n".join(lines)


def _fill(new: Path, *, development: bool) -> None:
    suffix = " DEVELOPMENT" if development else ""
    for stem, name in (("secureboot", "Cluster-OS Secure Boot"), ("pcr", "Cluster-OS PCR")):
        key = generate_key()
        _write(new / f"{stem}.key", encode_private(key), 0o600)
        _write(new / f"{stem}.crt", certify(key, name + suffix), 0o644)
        if stem == "pcr":
            _write(new / "pcr.pub", encode_public(key.public_key()), 0o644)
    release = minisign.generate_key()
    comment = f"Cluster-OS{suffix} secret release key {release.public.name}"
    _write(new / "release.key", minisign.encode_secret_key(release, comment).encode(), 0o600)
    comment = f"Cluster-OS{suffix} release key {release.public.name}"
    _write(new / "release.pub", minisign.encode_public_key(release.public, comment).encode(), 0o644)
    readme = "\n".join(f"{name}: {text}" for name, text in PURPOSES.items())
    _write(new / "README", f"Keys of Cluster-OS images. Keep a backup offline.\n\n{readme}\n".encode(), 0o644)
    if development:
        _write(new / _MARKER, _DEVELOPMENT_TEXT.encode(), 0o644)


def _load_pair(directory: Path, stem: str) -> x509.Certificate:
    key_file, certificate_file = directory / f"{stem}.key", directory / f"{stem}.crt"
    key, certificate = _read(key_file, secret=True), _read(certificate_file, secret=False)
    return parse_pair(key, certificate, str(key_file), str(certificate_file))


def _read(file: Path, *, secret: bool) -> bytes:
    try:
        with file.open("rb") as content:
            mode = os.fstat(content.fileno()).st_mode
            data = content.read()
    except FileNotFoundError:
        raise ClusterError(f"{file} is missing", hint=HINT_NEW + ", or restore it from your backup") from None
    except OSError as error:
        raise _cannot("read", file, error) from None
    if secret and mode & 0o077:
        raise ClusterError(
            f"{file} can be read by other users", hint=f"chmod 600 {file}, and think about a new key"
        )
    return data


def _write(file: Path, data: bytes, mode: int) -> None:
    # Closed to others from the first moment on.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)
        os.fchmod(out.fileno(), mode)
        out.flush()
        os.fsync(out.fileno())


def _refuse(directory: Path) -> ClusterError:
    return ClusterError(
        f"{directory} is not empty: keys are never overwritten", hint="name a new folder for the keys"
    )


def _cannot(verb: str, path: Path, error: OSError) -> ClusterError:
    reason = (error.strerror or str(error)).lower()
    return ClusterError(f"cannot {verb} {path}: {reason}", hint="check the path and its permissions")
