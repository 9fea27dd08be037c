# SPDX-License-Identifier: Apache-2.0
"""Ask systemd where the time of a boot went, the initrd included."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from harness.machine import Machine

FIRST_BOOT_UNIT = "clusteros-firstboot.service"
TOP = 10
# systemd's sd-messages.h: SD_MESSAGE_UNIT_STARTING and SD_MESSAGE_UNIT_STARTED.
_STARTING, _STARTED = "7d4958e842da4a758f6c1cdc7b36dcc5", "39f53479d3a045ac8e11786248231fbf"
_SPAN = re.compile(r"(?:(\d+)min ?)?(?:(\d+(?:\.\d+)?)s|(\d+(?:\.\d+)?)ms|(\d+)us)?")
_LINK = re.compile(r"^[ └─]*(?P<unit>\S+\.[a-z]+)(?: @(?P<at>[^+]+))?(?: ?\+(?P<took>.+))?$")
_MANAGER = {
    "initrd": "InitRDTimestampMonotonic",
    "root file system": "UserspaceTimestampMonotonic",
    "running": "FinishTimestampMonotonic",
}


@dataclass(frozen=True)
class Unit:
    """A unit of a boot: when it became active and how long its start took, in seconds.

    `at` counts from power-on; `part` is initrd or system.
    """

    name: str
    at: float
    took: float
    part: str


@dataclass(frozen=True)
class Chain:
    """What systemd says of one boot: seconds from power-on to its stages, and units.

    `critical` is the chain of units that each waited for the one before, up to the default target and in the
    order of time; `slowest` are the units of initrd and system that took longest, on the chain or not.
    """

    state: str
    stages: dict[str, float]
    critical: tuple[Unit, ...]
    slowest: tuple[Unit, ...]


def read_chain(machine: Machine, first_boot: float) -> Chain:
    """Ask a running machine, when its boot jobs are done.

    `first_boot`: seconds from power-on to the end of the first-boot unit, which ties systemd's clock, which
    begins with the kernel, to ours.
    """
    state = machine.system_state()
    names = [f"--property={name}" for name in _MANAGER.values()]
    manager = read_properties(machine.run("systemctl", "show", *names))
    unit = read_properties(
        machine.run("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", FIRST_BOOT_UNIT)
    )
    kernel = first_boot - unit["ActiveEnterTimestampMonotonic"]
    stages = {"kernel": kernel} | {name: kernel + manager[key] for name, key in _MANAGER.items()}
    system = stages["root file system"]
    journal = machine.run("journalctl", "--boot", "--output=json", "_PID=1").splitlines()
    units = read_units(journal, offset=kernel, system=system)
    critical = read_critical_chain(
        machine.run("systemd-analyze", "critical-chain", "--no-pager"), offset=system
    )
    slowest = sorted(units, key=lambda unit: unit.took, reverse=True)[:TOP]
    return Chain(state, stages, tuple(critical), tuple(slowest))


def read_properties(text: str) -> dict[str, float]:
    """Return the time stamps that `systemctl show` prints in microseconds, as seconds."""
    return {
        name: int(value) / 1e6
        for name, _, value in (line.partition("=") for line in text.splitlines())
        if value.isdigit()
    }


def read_span(text: str) -> float:
    """Return a span of time as systemd writes it (`1min 2.5s`, `938ms`, `12us`), in seconds."""
    match = _SPAN.fullmatch(text.strip())
    if not match or not any(match.groups()):
        raise ValueError(f"not a span of time: {text!r}")
    minutes, seconds, milliseconds, microseconds = (float(part or 0) for part in match.groups())
    return 60 * minutes + seconds + milliseconds / 1e3 + microseconds / 1e6


def read_critical_chain(text: str, *, offset: float) -> list[Unit]:
    """Return the units of `systemd-analyze critical-chain` that have a time, in the order of time.

    `offset`: seconds from power-on to the start of the system's own systemd, from which that counts.
    """
    units = []
    for line in text.splitlines():
        match = _LINK.match(line.rstrip())
        if match and match["at"]:
            took = read_span(match["took"]) if match["took"] else 0.0
            # For what takes time, systemd prints when its start began.
            units.append(Unit(match["unit"], offset + read_span(match["at"]) + took, took, "system"))
    return units[::-1]


def read_units(journal: Iterable[str], *, offset: float, system: float) -> list[Unit]:
    """Return the units whose start and its end are in `journal`, lines of JSON from systemd itself.

    `offset`: seconds from power-on to the kernel's start, where the journal's clock begins; `system`: when
    the root file system's systemd took over from the initrd's.
    """
    begun: dict[str, float] = {}
    units = []
    for line in journal:
        entry = json.loads(line)
        name, kind = entry.get("UNIT"), entry.get("MESSAGE_ID")
        at = offset + int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
        if kind == _STARTING:
            begun[name] = at
        elif kind == _STARTED and name in begun:
            since = begun.pop(name)
            units.append(Unit(name, at, at - since, "initrd" if since < system else "system"))
    return units
