# SPDX-License-Identifier: Apache-2.0
"""Read what work is placed by: processor, memory, disks, network interfaces, GPUs. Only files, no waiting."""

import os

from agent.model import Cpu, Disk, Gpu, Nic
from agent.tree import Tree

# What schedulers ask for: vector width, bfloat16 and tiles, cryptography, virtual machines on top.
_FEATURES = (
    "sse4_2 avx avx2 f16c fma avx512f avx512bw avx512vl avx512_vnni avx512_bf16 avx_vnni amx_tile amx_bf16 "
    "amx_int8 aes sha_ni vaes vmx svm asimd sve sve2 bf16 i8mm"
)
_SCSI_DISK = 0
# Longest first where one contains the other; looked for in the path of the device in /sys.
_TRANSPORTS = (
    ("/nvme", "nvme"),
    ("/virtio", "virtio"),
    ("/usb", "usb"),
    ("/mmc", "mmc"),
    ("/ata", "sata"),
    ("/end_device-", "sas"),
    ("/host", "scsi"),
)


def read_cpu(tree: Tree) -> Cpu:
    threads = 0
    model: str | None = None
    features: set[str] = set()
    sockets: set[str] = set()
    cores: set[tuple[str, str]] = set()
    socket = "0"
    for line in (tree.text("proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if key == "processor":
            threads += 1
            socket = "0"
        elif key == "model name":
            model = model or " ".join(value.split())
        elif key in ("flags", "Features") and not features:
            features = set(_FEATURES.split()).intersection(value.split())
        elif key == "physical id":
            socket = value
            sockets.add(value)
        elif key == "core id":
            cores.add((socket, value))
    return Cpu(
        architecture=os.uname().machine,
        model=model,
        sockets=len(sockets) or 1,
        cores=len(cores) or threads,
        threads=threads,
        features=tuple(sorted(features)),
    )


def read_memory(tree: Tree) -> int:
    """Return the bytes of memory that are installed and online.

    Counted in the kernel's memory blocks as lsmem(1) does, because MemTotal, which is left where a kernel has
    no blocks, changes by some pages from boot to boot.
    """
    block = tree.number("sys/devices/system/memory/block_size_bytes", 16)
    names = [
        name
        for name in tree.names("sys/devices/system/memory")
        if name[:6] == "memory" and name[6:].isdigit()
    ]
    if block and names:
        folder = "sys/devices/system/memory"
        return block * sum(tree.text(f"{folder}/{name}/state") != "offline" for name in names)
    for line in (tree.text("proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def read_disks(tree: Tree) -> tuple[Disk, ...]:
    """Return the disks of the machine, virtual ones included; no optical drives, loop devices or maps."""
    return tuple(disk for name in tree.names("sys/block") if (disk := _read_disk(tree, name)))


def _read_disk(tree: Tree, name: str) -> Disk | None:
    folder = f"sys/block/{name}"
    size = 512 * (tree.number(f"{folder}/size") or 0)  # always in 512-byte units: block/genhd.c
    scsi_type = tree.number(f"{folder}/device/type")
    hidden = tree.number(f"{folder}/hidden")  # one path of a multipath NVMe disk
    if not tree.exists(f"{folder}/device") or not size or hidden or scsi_type not in (None, _SCSI_DISK):
        return None
    if name.startswith(("sr", "fd")):
        return None
    rotational = tree.number(f"{folder}/queue/rotational")
    device = (tree.target(folder) or "") + "/"
    return Disk(
        name=name,
        size_bytes=size,
        rotational=None if rotational is None else bool(rotational),
        removable=bool(tree.number(f"{folder}/removable")),
        transport=next((word for part, word in _TRANSPORTS if part in device), None),
        model=tree.text(f"{folder}/device/model"),
        serial=tree.text(f"{folder}/serial")
        or tree.text(f"{folder}/device/serial")
        or _page_80(tree, folder),
        wwn=tree.text(f"{folder}/wwid") or tree.text(f"{folder}/device/wwid"),
    )


def _page_80(tree: Tree, folder: str) -> str | None:
    """Return the unit serial number of a SCSI or SATA disk: SPC-4, 7.8.15, after a header of four bytes."""
    data = tree.data(f"{folder}/device/vpd_pg80")
    return data[4:].decode("ascii", "replace").strip(" \0") or None if data else None


def read_nics(tree: Tree) -> tuple[Nic, ...]:
    """Return the network interfaces that have hardware below them, virtual functions and virtio included."""
    nics = []
    for name in tree.names("sys/class/net"):
        folder = f"sys/class/net/{name}"
        mac = tree.text(f"{folder}/address")
        if not mac or not tree.exists(f"{folder}/device"):
            continue
        speed = tree.number(f"{folder}/speed")  # -1 without a link
        carrier = tree.number(f"{folder}/carrier")
        # The kernel gives the permanent address by netlink only; 0 here (NET_ADDR_PERM) means that `address`
        # is it, and a bond keeps it for its members.
        own = mac if tree.number(f"{folder}/addr_assign_type") == 0 else None
        nics.append(
            Nic(
                name=name,
                mac=mac,
                permanent_mac=tree.text(f"{folder}/bonding_slave/perm_hwaddr") or own,
                driver=tree.target_name(f"{folder}/device/driver"),
                speed_mbps=speed if speed and speed > 0 else None,
                carrier=None if carrier is None else bool(carrier),
            )
        )
    return tuple(nics)


def read_gpus(tree: Tree) -> tuple[Gpu, ...]:
    """Return the PCI devices of class 03xxxx (display controllers, 3D controllers included)."""
    gpus = []
    for address in tree.names("sys/bus/pci/devices"):
        folder = f"sys/bus/pci/devices/{address}"
        pci_class = (tree.text(f"{folder}/class") or "")[2:]
        if pci_class.startswith("03"):
            vendor, device = ((tree.text(f"{folder}/{key}") or "0x")[2:] for key in ("vendor", "device"))
            gpus.append(Gpu(address, vendor, device, pci_class, tree.target_name(f"{folder}/driver")))
    return tuple(gpus)
