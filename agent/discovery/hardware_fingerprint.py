# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of a machine's hardware, by which a copied disk is told from its original. Pure.

It is no secret and proves nothing: it only has to differ between two machines and to stay the same when a
machine restarts. The first of these that the machine has is hashed: the UUID of its firmware, its serial
number, the permanent addresses of its network interfaces.
"""

import hashlib
import re

from agent.model import Facts

DIGITS = 12

# What firmware says when nobody gave it a value: DMTF DSP0134 (all zero: not present, all ff: not set), and
# the defaults of AMI, Dell and others that whole series of boards share.
_NO_UUIDS = {
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "12345678-1234-1234-1234-123456789012",
    "11111111-2222-3333-4444-555555555555",
    "4c4c4544-0000-2010-8020-80c04f202020",
    "feedface-0000-0000-0000-000000000000",
}
_NO_SERIALS = {
    "system serial number",
    "serial number",
    "default string",
    "to be filled by o.e.m.",
    "o.e.m.",
    "oem",
    "not specified",
    "not applicable",
    "not available",
    "unknown",
    "none",
    "n/a",
    "invalid",
    "empty",
    "0123456789",
    "123456789",
    "1234567890",
}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def fingerprint_hardware(facts: Facts) -> str:
    """Return 12 hexadecimal digits; the same for all machines that have nothing of their own."""
    machine = facts.machine
    text = _useful_uuid(machine.uuid) or _useful_serial(machine.serial) or _addresses(facts)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _useful_uuid(uuid: str | None) -> str:
    text = (uuid or "").strip().lower()
    digits = set(text.replace("-", ""))
    return text if _UUID.fullmatch(text) and text not in _NO_UUIDS and len(digits) > 2 else ""


def _useful_serial(serial: str | None) -> str:
    text = " ".join((serial or "").lower().split())
    useful = len(text) > 3 and text not in _NO_SERIALS and len(set(text) - set(" -._")) > 1
    return text if useful else ""


def _addresses(facts: Facts) -> str:
    addresses = {nic.permanent_mac.lower() for nic in facts.nics if nic.permanent_mac}
    return " ".join(sorted(addresses - {"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}))
