# SPDX-License-Identifier: Apache-2.0
"""What one stage of the node hands to the next: frozen records, no behaviour.

They are named tuples and not dataclasses because every start of a machine waits for first boot, and
importing `dataclasses` (which brings `inspect`) takes as long as starting Python itself.
"""

from typing import NamedTuple


class Identity(NamedTuple):
    """Who a node is, all of it public and all of it derived from the node ID (see agent/identity.py)."""

    node_id: str  # base58 of the Ed25519 public key
    public_key: bytes  # Ed25519, 32 bytes
    hostname: str  # n- and the first 10 characters of the node ID, lower-cased
    fingerprint: str  # SHA256:… as OpenSSH writes it
    wireguard_public_key: str  # base64, as `wg` writes it


class Cpu(NamedTuple):
    architecture: str  # as uname -m
    model: str | None
    sockets: int
    cores: int
    threads: int
    features: tuple[str, ...]  # kernel's names, only those worth placing work by


class Disk(NamedTuple):
    name: str
    size_bytes: int
    rotational: bool | None
    removable: bool
    transport: str | None  # nvme, virtio, sata, sas, usb, mmc, scsi
    model: str | None
    serial: str | None
    wwn: str | None


class Nic(NamedTuple):
    name: str
    mac: str
    permanent_mac: str | None  # None where the current address was set by software
    driver: str | None
    speed_mbps: int | None  # None without a link; changes while the machine runs
    carrier: bool | None  # None while the interface is down; changes while the machine runs


class Gpu(NamedTuple):
    address: str  # PCI, 0000:01:00.0
    vendor: str  # PCI id, four hexadecimal digits
    device: str
    pci_class: str  # six hexadecimal digits, 03xxxx
    driver: str | None  # bound late by udev, so it may change while the machine runs


class Firmware(NamedTuple):
    type: str  # uefi or bios
    vendor: str | None
    version: str | None
    date: str | None
    secure_boot: bool | None  # None where the firmware does not say


class Machine(NamedTuple):
    vendor: str | None
    product: str | None
    serial: str | None
    uuid: str | None
    virtualization: str  # none, kvm, qemu, vmware, … in the words of systemd-detect-virt
    container: str | None  # docker, podman, systemd-nspawn, …


class Facts(NamedTuple):
    """The hardware of one machine."""

    cpu: Cpu
    memory_bytes: int
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    gpus: tuple[Gpu, ...]
    firmware: Firmware
    tpm: str | None  # "2.0", "1.2"; None without one
    machine: Machine
