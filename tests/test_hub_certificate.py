# SPDX-License-Identifier: Apache-2.0
"""The hub's certificate: who signs it, what it is good for, and that every holder has the same authority."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given
from hypothesis import strategies as st

from hub.certificate import DAYS, NAMES, PRIVATE, Authority, derive_authority, issue

RANGES = ("10.86.0.0/16", "fd12:3456::/64")
ADDRESS = "fd12:3456::7"
NOW = datetime(2026, 11, 27, tzinfo=UTC)
SECRETS = st.binary(min_size=32, max_size=32)


def authority(secret: bytes = bytes(32)) -> Authority:
    return derive_authority(secret, "lab", RANGES)


def leaf(addresses: tuple[str, ...] = (ADDRESS,)) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issue(authority(), addresses, NOW).certificate)


def trusts(by: Authority, found: x509.Certificate, name: str, when: datetime = NOW) -> bool:
    """What a client says that trusts the authority (RFC 5280, as far as cryptography's verifier has it)."""
    builder = PolicyBuilder().store(Store([by.certificate])).time(when)
    try:
        builder.build_server_verifier(x509.DNSName(name)).verify(found, [])
    except VerificationError:
        return False
    return True


@given(SECRETS)
def test_each_holder_has_the_same_authority_to_the_byte(secret: bytes) -> None:
    assert authority(secret).pem == authority(secret).pem
    found = authority(secret).certificate
    found.verify_directly_issued_by(found)


@given(SECRETS, SECRETS)
def test_another_secret_is_another_authority(one: bytes, other: bytes) -> None:
    if one != other:
        mine, theirs = authority(one).certificate, authority(other).certificate
        assert mine.serial_number != theirs.serial_number
        with pytest.raises(InvalidSignature):
            mine.verify_directly_issued_by(theirs)


def test_the_authority_vouches_for_the_hub_and_nothing_else() -> None:
    found = authority().certificate
    limits = found.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    names = limits.value.permitted_subtrees or []
    assert [name.value for name in names if isinstance(name, x509.DNSName)] == list(NAMES)
    networks = [str(name.value) for name in names if isinstance(name, x509.IPAddress)]
    assert networks == [*RANGES, *PRIVATE, "127.0.0.1/32", "::1/128"]
    basic = found.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical and basic.value.ca and basic.value.path_length == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_the_authority_trusts_the_server(name: str) -> None:
    assert trusts(authority(), leaf(), name)
    assert not trusts(authority(), leaf(), "example.org")
    assert not trusts(authority(b"x" * 32), leaf(), name)


def test_the_certificate_names_the_moving_address_and_ends_in_time() -> None:
    names = leaf().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ip_address(ADDRESS) in names.get_values_for_type(x509.IPAddress)
    assert leaf().not_valid_after_utc - leaf().not_valid_before_utc == timedelta(days=DAYS)
    assert trusts(authority(), leaf(), NAMES[0], NOW + timedelta(days=DAYS - 2))
    assert not trusts(authority(), leaf(), NAMES[0], NOW + timedelta(days=DAYS))


def test_a_member_is_named_at_its_private_addresses_only() -> None:
    found = leaf((ADDRESS, "192.168.1.7", "203.0.113.7", "2001:db8::7"))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    assert addresses == ["127.0.0.1", "::1", ADDRESS, "192.168.1.7"]
    # With one of the others, clients would refuse the whole.
    assert trusts(authority(), found, NAMES[0])


def test_the_key_is_the_certificates_and_new_each_time() -> None:
    one, other = issue(authority(), [ADDRESS], NOW), issue(authority(), [ADDRESS], NOW)
    key = serialization.load_pem_private_key(one.key, None)
    certificate = x509.load_pem_x509_certificate(one.certificate)
    assert key.public_key() == certificate.public_key()
    assert one.key != other.key
