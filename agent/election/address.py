# SPDX-License-Identifier: Apache-2.0
"""The address by which Raft knows a voter: `10.1.2.3:7950`, its mesh address and Raft's port. Pure."""

import re
from ipaddress import AddressValueError, IPv4Address

PORT = 7950
_ADDRESS = re.compile(r"([0-9.]{7,15}):([1-9][0-9]{0,4})")


def join(host: str, port: int) -> str:
    return f"{host}:{port}"


def split(address: str) -> tuple[str, int]:
    """Return host and port; ValueError unless `address` is in its one right form."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > 65535:
        raise ValueError(f"not an address of a voter: {address[:40]!r}")
    try:
        # One form only, as addresses are compared as text: IPv4Address refuses leading zeros.
        return str(IPv4Address(match[1])), int(match[2])
    except AddressValueError:
        raise ValueError(f"not an address of a voter: {address[:40]!r}") from None


def is_address(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(split(value))
    except ValueError:
        return False
