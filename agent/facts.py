# SPDX-License-Identifier: Apache-2.0
"""The hardware facts of a machine, and their form in facts.json.

facts.json (version 1) holds the hardware as the last boot found it, and is written again only when that
changed. What changes while a machine runs (link speed, carrier, a GPU's driver) is not in it: `node-agent
info` reads it live.
"""

import json
from typing import Any

from agent.firmware import read_firmware, read_machine, read_tpm
from agent.hardware import read_cpu, read_disks, read_gpus, read_memory, read_nics
from agent.model import Facts
from agent.tree import Tree

VERSION = 1
_LIVE = {"nics": ("speed_mbps", "carrier"), "gpus": ("driver",)}


def read_facts(tree: Tree) -> Facts:
    """Return the hardware of the machine that `tree` shows; unknown parts are None or empty."""
    return Facts(
        cpu=read_cpu(tree),
        memory_bytes=read_memory(tree),
        disks=read_disks(tree),
        nics=read_nics(tree),
        gpus=read_gpus(tree),
        firmware=read_firmware(tree),
        tpm=read_tpm(tree),
        machine=read_machine(tree),
    )


def to_dict(facts: Facts, *, live: bool) -> dict[str, Any]:
    """Return the facts in plain JSON types; `live` adds what changes while the machine runs."""
    content: dict[str, Any] = {
        "cpu": facts.cpu._asdict(),
        "memory_bytes": facts.memory_bytes,
        "disks": [disk._asdict() for disk in facts.disks],
        "nics": [nic._asdict() for nic in facts.nics],
        "gpus": [gpu._asdict() for gpu in facts.gpus],
        "firmware": facts.firmware._asdict(),
        "tpm": facts.tpm,
        "machine": facts.machine._asdict(),
    }
    if not live:
        for part, keys in _LIVE.items():
            content[part] = [{key: item[key] for key in item if key not in keys} for item in content[part]]
    return content


def encode(facts: Facts) -> bytes:
    """Return the content of facts.json."""
    return json.dumps({"version": VERSION, **to_dict(facts, live=False)}, indent=1).encode() + b"\n"


def summarise(facts: Facts) -> str:
    """Return the facts in one line for people."""
    cpu = facts.cpu
    disks = sum(disk.size_bytes for disk in facts.disks)
    tpm = f"TPM {facts.tpm}" if facts.tpm else "no TPM"
    boot = facts.firmware.type.upper()
    if facts.firmware.secure_boot is not None:
        boot += " with Secure Boot" if facts.firmware.secure_boot else " without Secure Boot"
    return ", ".join(
        (
            _count(cpu.cores, "core")
            + (f" ({_count(cpu.threads, 'thread')})" if cpu.threads != cpu.cores else ""),
            f"{show_bytes(facts.memory_bytes)} memory",
            _count(len(facts.disks), "disk") + (f" ({show_bytes(disks)})" if disks else ""),
            _count(len(facts.nics), "NIC"),
            _count(len(facts.gpus), "GPU"),
            boot,
            tpm,
        )
    )


def show_bytes(count: int) -> str:
    """Return a size for people, in binary units."""
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
