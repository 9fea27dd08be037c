# SPDX-License-Identifier: Apache-2.0
"""Hardware facts are read from /proc and /sys alone, and what is missing or odd there is no error."""

import json
import os
from pathlib import Path

import pytest

from agent import facts
from agent.facts import read_facts, summarise, to_dict
from agent.model import Facts
from agent.tree import Tree
from tests.machine import link, make_machine, write

SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_machine(tmp_path)


def read(root: Path) -> Facts:
    return read_facts(Tree(str(root)))


def test_processor_and_memory_are_counted(root: Path) -> None:
    found = read(root)
    assert (found.cpu.sockets, found.cpu.cores, found.cpu.threads) == (1, 2, 4)
    assert found.cpu.model == "Example CPU 9000"
    assert found.cpu.features == ("aes", "avx2", "sse4_2")
    assert found.memory_bytes == 2 << 30


def test_memory_that_is_offline_does_not_count(root: Path) -> None:
    write(root, {"sys/devices/system/memory/memory3/state": "offline\n"})
    assert read(root).memory_bytes == (2 << 30) - (128 << 20)


def test_a_kernel_without_memory_blocks_still_tells_its_memory(root: Path) -> None:
    (root / "sys/devices/system/memory/block_size_bytes").unlink()
    assert read(root).memory_bytes == 2_000_000 * 1024


def add_disk(root: Path, name: str, device: str, files: dict[str, str | bytes]) -> None:
    folder = f"sys/devices/{device}/block/{name}"
    link(root, f"sys/block/{name}", folder)
    link(root, f"{folder}/device", f"sys/devices/{device}")
    write(root, {f"{folder}/{key}": value for key, value in files.items()})


def test_disks_of_every_kind_are_told_apart(root: Path) -> None:
    common: dict[str, str | bytes] = {"size": "2097152\n", "queue/rotational": "0\n", "removable": "0\n"}
    add_disk(root, "vda", "pci0000:00/0000:00:03.0/virtio1", common | {"serial": "disk1"})
    add_disk(root, "nvme0n1", "pci0000:00/0000:01:00.0/nvme/nvme0", common | {"wwid": "eui.0025388\n"})
    write(root, {"sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/model": "Fast 1TB       \n"})
    write(root, {"sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/serial": "S5GX      \n"})
    ata = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0"
    add_disk(root, "sda", ata, common | {"queue/rotational": "1\n"})
    write(root, {f"sys/devices/{ata}/vpd_pg80": b"\0\x80\0\x08  WX1234", f"sys/devices/{ata}/type": "0\n"})
    add_disk(root, "sdb", "pci0000:00/usb1/1-1/host5/target5:0:0/5:0:0:0", common | {"removable": "1\n"})
    disks = {disk.name: disk for disk in read(root).disks}
    assert {name: disk.transport for name, disk in disks.items()} == {
        "nvme0n1": "nvme",
        "sda": "sata",
        "sdb": "usb",
        "vda": "virtio",
    }
    assert disks["vda"].serial == "disk1"
    assert disks["vda"].size_bytes == 1 << 30
    assert (disks["nvme0n1"].model, disks["nvme0n1"].serial) == ("Fast 1TB", "S5GX")
    assert disks["nvme0n1"].wwn == "eui.0025388"
    assert (disks["sda"].serial, disks["sda"].rotational) == ("WX1234", True)
    assert disks["sdb"].removable


def test_what_is_no_disk_is_left_out(root: Path) -> None:
    write(
        root, {"sys/block/loop0/size": "100\n", "sys/block/dm-0/size": "100\n", "sys/block/zram0/size": "9\n"}
    )
    add_disk(root, "sr0", "pci0000:00/ata2/host1/1:0:0:0", {"size": "2097151\n"})
    add_disk(root, "sdc", "pci0000:00/usb1/host9/9:0:0:0", {"size": "0\n"})  # a card reader without a card
    add_disk(root, "nvme0c0n1", "pci0000:00/nvme/nvme0", {"size": "99\n", "hidden": "1\n"})
    add_disk(root, "sdd", "pci0000:00/ata3/host2/2:0:0:0", {"size": "99\n"})
    write(root, {"sys/devices/pci0000:00/ata3/host2/2:0:0:0/type": "5\n"})  # optical
    assert read(root).disks == ()


def add_nic(root: Path, name: str, files: dict[str, str | bytes]) -> None:
    folder = f"sys/devices/pci0000:00/{name}/net/{name}"
    link(root, f"sys/class/net/{name}", folder)
    link(root, f"{folder}/device", f"sys/devices/pci0000:00/{name}")
    link(root, f"sys/devices/pci0000:00/{name}/driver", "sys/bus/pci/drivers/e1000e")
    write(root, {f"{folder}/{key}": value for key, value in files.items()})


def test_interfaces_with_hardware_are_listed_and_virtual_ones_are_not(root: Path) -> None:
    write(root, {"sys/class/net/lo/address": "00:00:00:00:00:00\n", "sys/class/net/wg0/address": "\n"})
    up: dict[str, str | bytes] = {"speed": "1000\n", "carrier": "1\n", "addr_assign_type": "0\n"}
    add_nic(root, "enp1s0", up | {"address": "52:54:00:00:00:01\n"})
    add_nic(root, "enp2s0", {"address": "52:54:00:00:00:02\n", "speed": "-1\n", "addr_assign_type": "3\n"})
    add_nic(
        root, "enp3s0", {"address": "52:54:00:00:00:09\n", "bonding_slave/perm_hwaddr": "52:54:00:00:00:03"}
    )
    one, two, three = read(root).nics
    assert one == ("enp1s0", "52:54:00:00:00:01", "52:54:00:00:00:01", "e1000e", 1000, True)
    assert two == ("enp2s0", "52:54:00:00:00:02", None, "e1000e", None, None)
    assert three.permanent_mac == "52:54:00:00:00:03"


def test_gpus_are_found_by_their_class_with_and_without_a_driver(root: Path) -> None:
    for address, kind in (
        ("0000:01:00.0", "0x030200"),
        ("0000:02:00.0", "0x030000"),
        ("0000:03:00.0", "0x020000"),
    ):
        folder = f"sys/bus/pci/devices/{address}"
        write(root, {f"{folder}/class": kind, f"{folder}/vendor": "0x10de\n", f"{folder}/device": "0x20b0\n"})
    link(root, "sys/bus/pci/devices/0000:01:00.0/driver", "sys/bus/pci/drivers/nvidia")
    one, two = read(root).gpus
    assert one == ("0000:01:00.0", "10de", "20b0", "030200", "nvidia")
    assert two.driver is None


@pytest.mark.parametrize(
    ("data", "state"),
    [(b"\6\0\0\0\1", True), (b"\6\0\0\0\0", False), (b"\6\0\0\0", None), (b"", None), (None, None)],
)
def test_secure_boot_is_on_off_or_unknown(root: Path, data: bytes | None, state: bool | None) -> None:
    (root / "sys/firmware/efi").mkdir(parents=True)
    if data is not None:
        write(root, {SECURE_BOOT: data})
    firmware = read(root).firmware
    assert (firmware.type, firmware.secure_boot) == ("uefi", state)


def test_a_machine_without_uefi_is_a_bios_machine(root: Path) -> None:
    assert read(root).firmware.type == "bios"


@pytest.mark.parametrize(("major", "version"), [("2\n", "2.0"), ("1\n", "1.2")])
def test_the_version_of_the_tpm_is_told(root: Path, major: str, version: str) -> None:
    assert read(root).tpm is None
    write(root, {"sys/class/tpm/tpm0/tpm_version_major": major})
    assert read(root).tpm == version


@pytest.mark.parametrize(
    ("flags", "vendor", "clocks", "expected"),
    [
        ("", "Example Corp", "tsc hpet", "none"),
        ("", "QEMU", "tsc", "none"),
        (" hypervisor", "QEMU", "tsc hpet", "qemu"),
        (" hypervisor", "QEMU", "kvm-clock tsc", "kvm"),
        (" hypervisor", "VMware, Inc.", "tsc", "vmware"),
        (" hypervisor", "Example Corp", "tsc", "vm-other"),
    ],
)
def test_hypervisors_have_the_names_of_systemd(
    tmp_path: Path, flags: str, vendor: str, clocks: str, expected: str
) -> None:
    make_machine(tmp_path, extra_flags=flags)
    clock = "sys/devices/system/clocksource/clocksource0/available_clocksource"
    write(tmp_path, {"sys/class/dmi/id/sys_vendor": vendor, clock: clocks})
    assert read(tmp_path).machine.virtualization == expected


def test_fields_that_nobody_filled_in_are_unknown(root: Path) -> None:
    write(root, {"sys/class/dmi/id/product_serial": "To Be Filled By O.E.M.\n"})
    write(root, {"sys/class/dmi/id/sys_vendor": "Example Corp\n"})
    machine = read(root).machine
    assert (machine.serial, machine.vendor) == (None, "Example Corp")


def test_what_changes_while_a_machine_runs_is_not_in_the_file(root: Path) -> None:
    add_nic(root, "enp1s0", {"address": "52:54:00:00:00:01\n", "speed": "-1\n", "addr_assign_type": "0\n"})
    write(root, {"sys/bus/pci/devices/0000:01:00.0/class": "0x030000"})
    before = facts.encode(read(root))
    write(root, {"sys/class/net/enp1s0/speed": "1000\n", "sys/class/net/enp1s0/carrier": "1\n"})
    link(root, "sys/bus/pci/devices/0000:01:00.0/driver", "sys/bus/pci/drivers/nouveau")
    after = read(root)
    assert facts.encode(after) == before
    live = to_dict(after, live=True)
    assert live["nics"][0]["speed_mbps"] == 1000
    assert live["gpus"][0]["driver"] == "nouveau"


def test_a_machine_that_shows_nothing_has_no_facts_and_no_error(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.memory_bytes == found.cpu.threads == 0
    assert "no disks" in summarise(found)


def test_odd_bytes_in_the_kernels_files_are_no_error(root: Path) -> None:
    write(
        root, {"sys/class/dmi/id/sys_vendor": b"\xff\xfe\0", "sys/class/tpm/tpm0/tpm_version_major": b"\xff"}
    )
    write(root, {"sys/devices/system/memory/block_size_bytes": "zz"})
    json.dumps(to_dict(read(root), live=True))


def test_this_real_machine_is_described() -> None:
    found = read_facts(Tree())
    assert found.cpu.threads == os.sysconf("SC_NPROCESSORS_ONLN")
    assert 1 <= found.cpu.cores <= found.cpu.threads
    usable = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert usable <= found.memory_bytes < 2 * usable
    assert {nic.name for nic in found.nics} <= {path.name for path in Path("/sys/class/net").iterdir()}
    assert json.loads(facts.encode(found))["version"] == 1
    assert summarise(found).count(",") == 6
