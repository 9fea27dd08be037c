# SPDX-License-Identifier: Apache-2.0
"""Find out whether KVM really runs a guest here, by running one."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from image.toolstree import ToolsTree

PROBE_LIMIT = 5.0
"""Seconds that the probe guest may take; under TCG it needs a tenth of one."""

# The whole guest: at the reset vector, 16 bytes under 4 GiB, in real mode:
#   mov dx, 0xf4; mov al, 0x10; out dx, al; hlt
_GUEST = bytes.fromhex("baf400 b010 ee f4")
_ROM_SIZE = 64 * 1024
# isa-debug-exit ends QEMU with (value << 1) | 1.
_PASSED = 0x10 << 1 | 1


@dataclass(frozen=True)
class Acceleration:
    """`name` is kvm or tcg, `reason` one line that says why."""

    name: str
    reason: str

    @property
    def cpu(self) -> str:
        """The CPU model to ask for. TCG's `max` has SHA-NI, which dm-verity is glad of.

        It copies byte by byte, so no kernel should take that for the fast way (ERMS, FSRM), and walks through
        tables of pages in software, of which four levels are enough: together 8 % less for a boot.
        """
        return "host" if self.name == "kvm" else "max,erms=off,fsrm=off,la57=off"


def detect(tools: ToolsTree) -> Acceleration:
    """Return KVM when a probe guest ran under it within PROBE_LIMIT, else TCG.

    Nothing is remembered: the probe takes a tenth of a second, and an answer of yesterday may be wrong.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        missing = "is not there" if not Path("/dev/kvm").exists() else "may not be opened by this user"
        return Acceleration("tcg", f"/dev/kvm {missing}")
    outcome = probe(tools, "kvm")
    if outcome is None:
        return Acceleration("kvm", "a probe guest ran")
    return Acceleration("tcg", f"/dev/kvm opens but runs no guest: {outcome}")


def probe(tools: ToolsTree, name: str) -> str | None:
    """Run the probe guest under accelerator `name`; return what went wrong, None when it ran."""
    cpu = Acceleration(name, "").cpu
    rom = bytearray(b"\xf4" * _ROM_SIZE)
    rom[-16 : -16 + len(_GUEST)] = _GUEST
    with tempfile.NamedTemporaryFile(prefix="cluster-os-probe-") as file:
        file.write(rom)
        file.flush()
        argv = ["qemu-system-x86_64", "-machine", f"q35,accel={name}", "-cpu", cpu, "-m", "16", "-nodefaults"]
        argv += ["-no-user-config", "-display", "none", "-bios", file.name]
        argv += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        command = tools.command(argv)
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PROBE_LIMIT
            )
        except subprocess.TimeoutExpired:
            return f"the probe guest did not end within {PROBE_LIMIT:.0f} s"
    if done.returncode == _PASSED:
        return None
    lines = done.stderr.decode(errors="replace").splitlines()
    return lines[0].removeprefix("qemu-system-x86_64: ") if lines else f"exit status {done.returncode}"
