# SPDX-License-Identifier: Apache-2.0
"""The hardware's fingerprint differs between machines and stays with a machine."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.discovery.hardware_fingerprint import fingerprint_hardware
from agent.model import Cpu, Facts, Firmware, Machine, Nic

UUID = "8a3c9d1e-5b7f-4c21-9e0a-1f2b3c4d5e6f"


def facts(uuid: str | None = None, serial: str | None = None, macs: tuple[str | None, ...] = ()) -> Facts:
    return Facts(
        cpu=Cpu("x86_64", None, 1, 1, 1, ()),
        memory_bytes=1 << 30,
        disks=(),
        nics=tuple(Nic(f"eth{n}", mac or "", mac, None, None, None) for n, mac in enumerate(macs)),
        gpus=(),
        firmware=Firmware("uefi", None, None, None, None),
        tpm=None,
        machine=Machine(None, None, serial, uuid, "none", None),
    )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def test_the_uuid_of_the_firmware_comes_first() -> None:
    macs = ("52:54:00:00:00:01",)
    assert fingerprint_hardware(facts(UUID, "S3R1AL", macs)) == digest(UUID)
    assert fingerprint_hardware(facts(UUID.upper(), None)) == digest(UUID)


@pytest.mark.parametrize(
    "uuid",
    [
        None,
        "",
        "Not Settable",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "fefefefe-fefe-fefe-fefe-fefefefefefe",
        "03000200-0400-0500-0006-000700080009",
    ],
)
def test_without_a_uuid_of_its_own_the_serial_number_counts(uuid: str | None) -> None:
    assert fingerprint_hardware(facts(uuid, " S3R1AL ")) == digest("s3r1al")


@pytest.mark.parametrize(
    "serial",
    [None, "", "0", "00000000", "To Be Filled By O.E.M.", "Default string", "0123456789", "xxxxxxxx", "- -"],
)
def test_without_a_serial_number_of_its_own_the_network_addresses_count(serial: str | None) -> None:
    macs = ("52:54:00:00:00:02", None, "52:54:00:00:00:01")
    assert fingerprint_hardware(facts(None, serial, macs)) == digest("52:54:00:00:00:01 52:54:00:00:00:02")


def test_the_order_of_interfaces_does_not_matter() -> None:
    macs = ("52:54:00:00:00:02", "52:54:00:00:00:01")
    assert fingerprint_hardware(facts(macs=macs)) == fingerprint_hardware(facts(macs=macs[::-1]))


@given(st.text(max_size=40) | st.none(), st.text(max_size=40) | st.none())
def test_every_machine_has_a_fingerprint(uuid: str | None, serial: str | None) -> None:
    assert len(fingerprint_hardware(facts(uuid, serial))) == 12
