# SPDX-License-Identifier: Apache-2.0
"""Write a machine down as QEMU arguments: pure, so that what a VM is can be read and tested without one."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.acceleration import Acceleration
from harness.model import SUBNET, NodePaths, NodeSpec

OVMF = Path("/usr/share/OVMF")
"""Debian's package `ovmf`, as seen inside the tools tree."""


def firmware_code(spec: NodeSpec) -> Path:
    """The read-only half of OVMF: the Secure Boot build only where asked for, as its SMM costs time."""
    return OVMF / ("OVMF_CODE_4M.secboot.fd" if spec.firmware.secure_boot else "OVMF_CODE_4M.fd")


def qemu(
    spec: NodeSpec,
    paths: NodePaths,
    *,
    group: str,
    acceleration: Acceleration,
    tap: str | None,
    clock: str,
    smbios: Sequence[Path],
) -> list[str]:
    """Return the argument vector of a node's QEMU.

    `tap` is the name of its tap device, None when its network is the relay behind socket `net`. `smbios` are
    files with one OEM string each: secrets stay out of the argument vector, which everybody can read.
    """
    secure = spec.firmware.secure_boot
    machine = f"q35,accel={acceleration.name},smm={'on' if secure else 'off'},pflash0=code,pflash1=variables"
    argv = ["qemu-system-x86_64", "-name", f"{group}-{spec.name}", "-uuid", spec.uuid]
    argv += ["-no-user-config", "-nodefaults", "-display", "none", "-daemonize"]
    argv += ["-machine", machine, "-cpu", acceleration.cpu, "-smp", str(spec.cpus), "-m", str(spec.memory)]
    argv += ["-rtc", f"base={clock}"]
    argv += _blockdev("code", driver="raw", read_only=True, path=firmware_code(spec))
    argv += _blockdev("variables", driver="raw", read_only=False, path=paths.variables)
    argv += _blockdev("disk", driver="qcow2", read_only=False, path=paths.disk)
    argv += _device("virtio-blk-pci", drive="disk", serial=spec.name, bootindex=0)
    argv += _device("virtio-rng-pci")
    argv += _device("vmgenid", guid="auto")
    argv += _device("virtio-serial-pci")
    argv += _socket("agent", paths.socket("agent"))
    argv += _device("virtserialport", chardev="agent", name="org.qemu.guest_agent.0")
    argv += _socket("console", paths.socket("console"), log=paths.console)
    argv += ["-serial", "chardev:console"]
    argv += _socket("qmp", paths.socket("qmp"))
    argv += ["-mon", "chardev=qmp,mode=control"]
    argv += _network(paths, tap)
    argv += _device("virtio-net-pci", netdev="net", mac=spec.mac(group), romfile="")
    if secure:
        # The firmware's variables may be written by SMM alone, else the guest could enrol what it likes.
        argv += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        argv += ["-global", "ICH9-LPC.disable_s3=1"]
    if spec.tpm:
        argv += ["-chardev", f"socket,id=tpm,path={_escape(paths.socket('tpm'))}"]
        argv += ["-tpmdev", "emulator,id=tpm,chardev=tpm"]
        argv += _device("tpm-crb", tpmdev="tpm")
    for file in smbios:
        argv += ["-smbios", f"type=11,path={_escape(file)}"]
    return argv


def credential_strings(credentials: Mapping[str, bytes]) -> dict[str, str]:
    """Return file name -> SMBIOS OEM string of each systemd credential (systemd.system-credentials(7))."""
    return {
        f"{number:02d}-{name}": f"io.systemd.credential.binary:{name}={b64encode(value).decode()}"
        for number, (name, value) in enumerate(sorted(credentials.items()))
    }


def network_unit(spec: NodeSpec, group: str) -> bytes:
    """Return a systemd.network file that gives the node its address on the group's bridge.

    It goes in as credential `network.network.10-vm`; the bridge itself is .1 and the default route.
    """
    lines = ["[Match]", f"MACAddress={spec.mac(group)}", "[Network]", f"Address={spec.address}/24"]
    lines += [f"Gateway={SUBNET}.1", "LinkLocalAddressing=ipv6", "IPv6AcceptRA=no", ""]
    return "\n".join(lines).encode()


def _blockdev(name: str, *, driver: str, read_only: bool, path: Path) -> list[str]:
    file = {"driver": "file", "filename": str(path)}
    node: dict[str, Any] = {"node-name": name, "driver": driver, "read-only": read_only, "file": file}
    if driver == "qcow2":
        # A guest that trims must not make a sparse overlay grow.
        node |= {"discard": "unmap", "detect-zeroes": "unmap"}
    return ["-blockdev", json.dumps(node)]


def _device(driver: str, **properties: str | int) -> list[str]:
    return ["-device", json.dumps({"driver": driver} | properties)]


def _network(paths: NodePaths, tap: str | None) -> list[str]:
    net: dict[str, Any] = {"id": "net"}
    if tap:
        net |= {"type": "tap", "ifname": tap, "script": "no", "downscript": "no"}
    else:
        address = {"type": "unix", "path": str(paths.socket("net"))}
        net |= {"type": "stream", "server": False, "addr": address}
    return ["-netdev", json.dumps(net)]


def _socket(name: str, path: Path, log: Path | None = None) -> list[str]:
    kept = f",logfile={_escape(log)},logappend=on" if log else ""
    return ["-chardev", f"socket,id={name},path={_escape(path)},server=on,wait=off{kept}"]


def _escape(path: Path) -> str:
    """Write a path into a key=value list of QEMU, where a comma is doubled."""
    return str(path).replace(",", ",,")
