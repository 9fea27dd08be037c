# SPDX-License-Identifier: Apache-2.0
"""The certificate of the hub, and the cluster's own authority that signs it. Pure but for the server's key.

The authority follows from a secret of the role: each holder has the same one, to the byte, and users trust it
once. By its name constraints (RFC 5280, 4.2.1.10) it is good for the hub's names alone, so that who trusts it
risks no other site. It is another one after a member was removed, as the role's secrets are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAME = "jupyterhub"
"""The role's name, by which members know its address."""
NAMES = (NAME, "localhost")
"""Names of the hub: on the mesh, and at the near end of an SSH tunnel."""
DAYS = 397
"""Validity of the server's certificate: what browsers take at most."""
_LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
"""Networks that nobody has on the internet (RFC 1918, 3927, 4193, 4291): members may be reached there too."""
# Fixed, as the certificate has to be the same at each holder, whatever its clock says.
_BEGIN, _END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2075, 1, 1, tzinfo=UTC)
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256: SEC 2, 2.4.2
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")  # the AlgorithmIdentifier of RFC 5758, 3.2
_Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Authority:
    """A key that signs, and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """The certificate as users get it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Issued:
    """What a server needs, in PEM: a key, and the certificate for it."""

    key: bytes
    certificate: bytes


def derive_authority(secret: bytes, cluster: str, ranges: Sequence[str]) -> Authority:
    """Return the authority that follows from a secret of 32 bytes.

    `ranges` are the networks of the mesh (CIDR): it may vouch for these addresses, private ones, loopback.
    """
    key = ec.derive_private_key(
        1 + int.from_bytes(_expand(secret, b"key", 48)) % (_ORDER - 1), ec.SECP256R1()
    )
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"Cluster-OS cluster {cluster}"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"JupyterHub of {cluster}"),
        ]
    )
    permitted: list[x509.GeneralName] = [x509.DNSName(each) for each in NAMES]
    networks = dict.fromkeys((*ranges, *PRIVATE, *(str(item) for item in _LOOPBACK)))
    permitted += [x509.IPAddress(ip_network(each)) for each in networks]
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1 + int.from_bytes(_expand(secret, b"serial", 15)))
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, _sign_again(certificate, key))


def issue(authority: Authority, addresses: Sequence[str], now: datetime) -> Issued:
    """Return a new key, and a certificate for the hub's names and `addresses`, from a day before `now`.

    An address that the authority may not vouch for is left out.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    where: list[_Address] = [*_LOOPBACK, *(ip_address(each) for each in addresses if _may(authority, each))]
    names: list[x509.GeneralName] = [x509.DNSName(each) for each in NAMES]
    names += [x509.IPAddress(each) for each in where]
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    begin = now - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Issued(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )


def _may(authority: Authority, address: str) -> bool:
    """Tell whether the authority may vouch for an address."""
    limits = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    networks = [name.value for name in limits.permitted_subtrees or [] if isinstance(name, x509.IPAddress)]
    return any(ip_address(address) in network for network in networks if not isinstance(network, _Address))


def _sign_again(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Return the certificate with a signature that has no chance in it (RFC 6979).

    The builder of certificates can make no such one in this version; RFC 5280, 4.1: a certificate is a
    sequence of what is signed, the algorithm, and the signature as a bit string.
    """
    signed = certificate.tbs_certificate_bytes
    signature = key.sign(signed, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    parts = signed + _ECDSA_SHA256 + _element(0x03, b"\0" + signature)
    return x509.load_der_x509_certificate(_element(0x30, parts))


def _element(tag: int, content: bytes) -> bytes:
    """Return a DER element (X.690, 8.1)."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _expand(secret: bytes, purpose: bytes, length: int) -> bytes:
    info = b"cluster-os jupyterhub tls " + purpose
    return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(secret)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
