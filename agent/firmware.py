# SPDX-License-Identifier: Apache-2.0
"""Read what the machine is: firmware, Secure Boot, TPM, maker, virtual or not. Only files, no waiting."""

from agent.model import Firmware, Machine
from agent.tree import Tree

_DMI = "sys/class/dmi/id"
# UEFI specification 2.10, 3.3: variable SecureBoot of the global vendor GUID.
_SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# systemd, src/basic/virt.c, dmi_vendor_table: how the DMI strings of a hypervisor begin, and its name there.
_HYPERVISORS = (
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Oracle Corporation", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Microsoft Corporation", "microsoft"),
    ("Apple Virtualization", "apple"),
    ("Google Compute Engine", "google"),
)
# What firmware writes where nobody filled a field in.
_PLACEHOLDERS = frozenset(
    ("to be filled by o.e.m.", "default string", "not specified", "system serial number", "none", "0")
)


def read_firmware(tree: Tree) -> Firmware:
    return Firmware(
        type="uefi" if tree.exists("sys/firmware/efi") else "bios",
        vendor=_dmi(tree, "bios_vendor"),
        version=_dmi(tree, "bios_version"),
        date=_dmi(tree, "bios_date"),
        secure_boot=_read_secure_boot(tree),
    )


def _read_secure_boot(tree: Tree) -> bool | None:
    data = tree.data(_SECURE_BOOT)
    # Four bytes of attributes, which efivarfs puts first, and one byte of value.
    return None if data is None or len(data) != 5 else data[4] == 1


def read_tpm(tree: Tree) -> str | None:
    """Return the version of the TPM that the kernel drives: "2.0", "1.2", or None without one."""
    for name in tree.names("sys/class/tpm"):
        return "2.0" if tree.number(f"sys/class/tpm/{name}/tpm_version_major") == 2 else "1.2"
    return None


def read_machine(tree: Tree) -> Machine:
    return Machine(
        vendor=_dmi(tree, "sys_vendor"),
        product=_dmi(tree, "product_name"),
        serial=_dmi(tree, "product_serial"),  # this and the next: root only
        uuid=_dmi(tree, "product_uuid"),
        virtualization=_read_virtualization(tree),
        container=_read_container(tree),
    )


def _read_virtualization(tree: Tree) -> str:
    """Return the hypervisor in the words of systemd-detect-virt, `vm-other` for an unknown one, or `none`."""
    xen = tree.text("sys/hypervisor/type")
    if xen:
        return xen
    if " hypervisor" not in (tree.text("proc/cpuinfo") or ""):
        return "none"
    keys = ("product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version")
    strings = [text for key in keys if (text := tree.text(f"{_DMI}/{key}"))]
    found = next(
        (name for text in strings for start, name in _HYPERVISORS if text.startswith(start)), "vm-other"
    )
    clocks = tree.text("sys/devices/system/clocksource/clocksource0/available_clocksource") or ""
    # QEMU's DMI says QEMU with and without KVM; only KVM offers its clock.
    return "kvm" if found in ("qemu", "vm-other") and "kvm-clock" in clocks.split() else found


def _read_container(tree: Tree) -> str | None:
    if tree.exists(".dockerenv"):
        return "docker"
    if tree.exists("run/.containerenv"):
        return "podman"
    return tree.text("run/systemd/container")


def _dmi(tree: Tree, name: str) -> str | None:
    text = tree.text(f"{_DMI}/{name}")
    return None if text is None or text.lower() in _PLACEHOLDERS else text
