# SPDX-License-Identifier: Apache-2.0
"""RSA keys and their self-signed X.509 certificates, in PEM form. Touches no files."""

import datetime
import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.errors import ClusterError

_BITS = 2048  # what every UEFI firmware and every TPM can verify
# Validity is fixed: a machine with a wrong clock must boot, and a builder with one must not make keys that
# start tomorrow. The end is the last moment that X.509 writes with a two-digit year; what ends the use of a
# key is taking it out of the firmware and the images, not a date.
_NOT_BEFORE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(2049, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
HINT_NEW = "make a set of keys with ./build.py keys new DIR"


def generate_key() -> rsa.RSAPrivateKey:
    """Make a new key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=_BITS)


def encode_private(key: rsa.RSAPrivateKey) -> bytes:
    """Return a private key in PEM form, without a passphrase."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certify(key: rsa.RSAPrivateKey, name: str) -> bytes:
    """Return a certificate in PEM form for `key`, signed by itself, with the common name `name`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def parse_pair(key_data: bytes, data: bytes, key_name: str, name: str) -> x509.Certificate:
    """Check a private key and the certificate `data` that belongs to it, and return that.

    `key_name` and `name` are what the error messages call them. Raises ClusterError.
    """
    try:
        key = serialization.load_pem_private_key(key_data, password=None)
    except TypeError:
        raise ClusterError(f"{key_name} has a passphrase", hint="builds need a key without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ClusterError(f"{key_name} is not a private key in PEM form", hint=HINT_NEW) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ClusterError(f"{key_name} is not an RSA key", hint=f"Secure Boot and TPMs need RSA; {HINT_NEW}")
    if key.key_size < _BITS:
        raise ClusterError(f"{key_name} has {key.key_size} bits, fewer than {_BITS}", hint=HINT_NEW)
    certificate = parse_certificate(data, name)
    if public_key_of(certificate).public_numbers() != key.public_key().public_numbers():
        raise ClusterError(f"{name} does not belong to {key_name}", hint="restore the pair from your backup")
    return certificate


def parse_certificate(data: bytes, name: str) -> x509.Certificate:
    """Read an RSA certificate in PEM form; `name` is for the error message."""
    try:
        certificate = x509.load_pem_x509_certificate(data)
        public_key_of(certificate)
    except (ValueError, UnsupportedAlgorithm):
        raise ClusterError(f"{name} is not an RSA certificate in PEM form", hint=HINT_NEW) from None
    return certificate


def parse_public_key(data: bytes, name: str) -> rsa.RSAPublicKey:
    """Read an RSA public key in PEM form; `name` is for the error message."""
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ClusterError(f"{name} is not an RSA public key in PEM form", hint=HINT_NEW)
    return key


def public_key_of(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    """Return the key that a certificate is for; ValueError when it is not RSA."""
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA certificate")
    return key


def encode_public(key: rsa.RSAPublicKey) -> bytes:
    """Return a public key in PEM form."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint_certificate(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate in its DER form."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def fingerprint_public_key(key: rsa.RSAPublicKey) -> str:
    """Return the SHA-256 of a public key (PKCS#1, DER), which is how systemd's PCR signatures name it."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    return hashlib.sha256(der).hexdigest()
