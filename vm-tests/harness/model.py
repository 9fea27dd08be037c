# SPDX-License-Identifier: Apache-2.0
"""What a virtual machine is: the plain data that the other modules hand to each other."""

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from agent.errors import ClusterError
from image.toolstree import ToolsTree

Json: TypeAlias = Any
"""An answer in JSON; whoever asked knows its shape."""

DISK_SIZE = 4 << 30
"""Bytes of a node's virtual disk: larger than the image, so that /var has room. It is sparse."""
MEMORY = 1024
"""MiB of a node; with OVMF and an unpacked initrd much less does not boot."""
NODE_NAME = re.compile(r"node([1-9][0-9]{0,2})")
GROUP_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
SUBNET = "10.77.0"
"""First three bytes of the IPv4 addresses (/24) of every group; each group is alone in its namespace."""


@dataclass(frozen=True)
class VmContext:
    """What `build.py` hands to the `vm` command."""

    tools: ToolsTree
    images: Path
    """Folder of one profile's artefacts, `out/vm`."""
    state: Path
    """Folder where the VMs keep their state, one folder a group."""
    credential: Callable[[str], bytes | None] = lambda _: None
    """Returns the join credential of a cluster; each node of the group of that name gets it."""


JOIN_CREDENTIAL = "cluster-os.join"


@dataclass(frozen=True)
class Firmware:
    """OVMF: plain, or with Secure Boot on and a variable store that trusts `certificate` alone (PEM)."""

    secure_boot: bool = False
    certificate: Path | None = None


@dataclass(frozen=True)
class NodeSpec:
    """One machine as it is bought: what does not change while it lives."""

    name: str
    memory: int = MEMORY
    cpus: int = 2
    disk_size: int = DISK_SIZE
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    tpm: bool = False
    firmware: Firmware = field(default_factory=Firmware)
    network_credential: bool = True
    """Give the guest its address by a systemd credential, as there is no DHCP server."""

    def __post_init__(self) -> None:
        if not NODE_NAME.fullmatch(self.name):
            raise ClusterError(f"not a node name: {self.name!r}", hint="nodes are named node1, node2, …")

    @property
    def number(self) -> int:
        """N of nodeN."""
        return int(self.name.removeprefix("node"))

    @property
    def address(self) -> str:
        """The IPv4 address that the network credential gives to the node; node N has .(10 + N)."""
        return f"{SUBNET}.{10 + self.number}"

    def mac(self, group: str) -> str:
        """The MAC address, the same for the same node of the same group (QEMU's 52:54:00 prefix)."""
        digest = hashlib.sha256(f"{group}/{self.name}".encode()).digest()
        return "52:54:00:" + ":".join(f"{byte:02x}" for byte in (*digest[:2], self.number % 256))

    def to_json(self) -> str:
        """Write as JSON, for `from_json`."""
        return json.dumps(asdict(self), default=str, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "NodeSpec":
        """Read what `to_json` wrote; raises ValueError, KeyError or TypeError on anything else."""
        data: dict[str, Any] = json.loads(text)
        firmware = data.pop("firmware")
        certificate = firmware["certificate"]
        return cls(
            **data,
            firmware=Firmware(firmware["secure_boot"], Path(certificate) if certificate else None),
        )


@dataclass(frozen=True)
class Boot:
    """What may differ from one start of a machine to the next."""

    credentials: Mapping[str, bytes] = field(default_factory=dict)
    """systemd credentials by name, handed over as SMBIOS strings."""
    clock: str = "utc"
    """Start of the real-time clock: `utc`, or a wrong one such as `2001-01-01T00:00:00`."""


@dataclass(frozen=True)
class Result:
    """How a command in a guest ended; `status` is 128 + n after signal n, as a shell tells it."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text without the last line's end."""
        return self.stdout.decode(errors="replace").rstrip("\n")


@dataclass(frozen=True)
class NodePaths:
    """The files of a node: `state` is kept until purged, `sockets` lives while it runs.

    Sockets are apart because a socket's path has at most 107 bytes.
    """

    state: Path
    sockets: Path
    name: str

    @property
    def spec(self) -> Path:
        """The NodeSpec as JSON; written last, so that a node without it was never finished."""
        return self.state / "node.json"

    @property
    def disk(self) -> Path:
        """qcow2 overlay over the group's base image."""
        return self.state / "disk.qcow2"

    @property
    def variables(self) -> Path:
        """UEFI variable store."""
        return self.state / "variables.fd"

    @property
    def console(self) -> Path:
        """Everything that the serial console said since the node was made."""
        return self.state / "console.log"

    @property
    def tpm(self) -> Path:
        """State folder of the software TPM."""
        return self.state / "tpm"

    @property
    def credentials(self) -> Path:
        """Folder of the SMBIOS strings, private to the user."""
        return self.state / "credentials"

    def socket(self, what: str) -> Path:
        """Socket `what`: qmp, agent, console, tpm or net."""
        return self.sockets / f"{self.name}.{what}"
