# SPDX-License-Identifier: Apache-2.0
"""Measure first boots of our image beside first boots of a bare Debian, in turns, on fresh disks.

Power-on is the moment when QEMU runs the machine. Our boot ends when systemd says on the serial console that
`clusteros-firstboot.service` is finished, the bare one when a unit that both get by a credential, and that
waits for multi-user.target, says so there (systemd itself is silent on a console with a login prompt). Both
machines have the same kernel, processors, memory and firmware.
"""

import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ClusterError
from harness.console import first_fatal, plain
from harness.group import Group
from harness.machine import BOOT_LIMIT, Machine
from harness.model import Boot, NodeSpec
from image.bench.chain import Chain, read_chain
from image.bench.figures import Comparison
from image.environment import Environment, make_folder
from image.process import run_logged
from image.progress import Phases

# systemd shortens names to fit a line of the console.
MARKS = {
    "kernel": r"Linux version (?P<version>\S+)",
    "initrd": r"Running in initrd",
    "root file system": r"Starting initrd-switch-root",
    "multi-user.target": r"(^\W*|login: )bench: multi-user\.target is reached",
}
"""Lines of a console that mark a stage of a boot."""
FIRST_BOOT = "first boot done"
OUR_MARKS = MARKS | {FIRST_BOOT: r"Finished clusteros-firstboot\.serv"}
# systemd.system-credentials(7): a unit, and a drop-in that has it started.
CREDENTIALS = {
    "systemd.extra-unit.bench.service": (
        b"[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\n"
        b"ExecStart=sh -c 'echo bench: multi-user.target is reached >/dev/console'\n"
    ),
    "systemd.unit-dropin.multi-user.target": b"[Unit]\nWants=bench.service\n",
}
_LOOK_AGAIN = 0.02
"""Seconds between two looks at a console; the error of a mark."""
_CHECK_AGAIN = 1.0
"""Seconds between two looks at whether the machine still can come up."""


@dataclass(frozen=True)
class Marks:
    """Seconds from power-on to each mark of a boot, and the version of the kernel."""

    seconds: Mapping[str, float]
    kernel: str


@dataclass(frozen=True)
class Boots:
    """The boots of both systems, and what systemd says of the last one of ours."""

    ours: tuple[Marks, ...]
    debian: tuple[Marks, ...]
    chain: Chain
    acceleration: str

    def compare(self) -> Comparison:
        """Compare the ends of both."""
        return Comparison(
            tuple(marks.seconds[FIRST_BOOT] for marks in self.ours),
            tuple(marks.seconds["multi-user.target"] for marks in self.debian),
        )


def build_debian(environment: Environment, scratch: Path) -> Path:
    """Build the bare Debian image and return its path."""
    folder = make_folder(scratch / "debian")
    command: list[str | Path] = [*environment.mkosi, "--force"]
    command += ["--directory", environment.project / "image/bench/bare"]
    command += ["--output-directory", make_folder(folder / "output")]
    command += ["--tools-tree", environment.tools.root]
    command += ["--package-cache-directory", environment.cache / "packages"]
    command += ["--workspace-directory", make_folder(folder / "workspace")]
    if environment.mirror.archive:
        command += ["--sandbox-tree", environment.sources]
    run_logged(
        [*command, "build"],
        log=scratch / "debian.log",
        what="building the bare Debian image",
        env=environment.mkosi_variables,
    )
    return folder / "output/bare.raw"


def measure_boots(
    ours: Path, debian: Path, environment: Environment, scratch: Path, phases: Phases, *, runs: int
) -> Boots:
    """Boot both images `runs` times each, one machine at a time, taking turns in going first."""
    found: dict[str, list[Marks]] = {"ours": [], "Debian": []}
    images = {"ours": ours, "Debian": debian}
    group = Group(environment.tools, make_folder(scratch / "machines"), "bench")
    try:
        for run in range(runs):
            for name in ("ours", "Debian") if run % 2 == 0 else ("Debian", "ours"):
                phases.begin(f"boot {name}, {run + 1} of {runs}")
                group.down(purge=True)
                machine, marks = _boot(group, images[name], OUR_MARKS if name == "ours" else MARKS)
                found[name].append(marks)
                if name == "ours":
                    phases.begin("ask systemd")
                    machine.wait_ready()
                    chain = read_chain(machine, marks.seconds[FIRST_BOOT])
    except ClusterError:
        for machine in group.machines():
            if machine.paths.console.exists():
                shutil.copyfile(machine.paths.console, scratch / "console.log")
        raise
    finally:
        group.down(purge=True)
    kernels = {marks.kernel for both in found.values() for marks in both}
    if len(kernels) > 1:
        raise ClusterError(
            f"the boots had different kernels: {', '.join(sorted(kernels))}",
            hint="a new kernel came out: run it again",
        )
    return Boots(tuple(found["ours"]), tuple(found["Debian"]), chain, group.acceleration.name)


def _boot(group: Group, image: Path, marks: Mapping[str, str]) -> tuple[Machine, Marks]:
    """Boot `image` on a fresh disk until all marks were seen."""
    group.create(image)
    machine = group.add(NodeSpec("node1"))
    # Whatever the first start of a group does beside is done before.
    _ = group.acceleration
    group.namespace.open()
    group.start(machine, Boot(CREDENTIALS))
    return machine, watch_console(machine, marks)


def watch_console(machine: Machine, marks: Mapping[str, str], *, limit: float = BOOT_LIMIT) -> Marks:
    """Note when each of `marks`, regular expressions for a line, appears, counted in seconds from now.

    Raises ClusterError when the machine ends or says that it cannot come up, and after `limit` seconds.
    """
    begun = checked = time.monotonic()
    seen: dict[str, float] = {}
    kernel, raw = "", b""
    with machine.paths.console.open("rb") as console:
        while len(seen) < len(marks):
            added = console.read()
            now = time.monotonic()
            if not added:
                if now - checked > _CHECK_AGAIN:
                    _check_hope(machine, marks.keys() - seen.keys(), now - begun, limit)
                    checked = now
                time.sleep(_LOOK_AGAIN)
                continue
            # A read may end in the middle of a line, of a character, or of an escape sequence.
            raw = raw.rpartition(b"\n")[2] + added
            for name, match in find_marks(plain(raw.decode(errors="replace")), marks).items():
                seen.setdefault(name, now - begun)
                kernel = match.groupdict().get("version") or kernel
    return Marks({name: seen[name] for name in sorted(seen, key=lambda name: seen[name])}, kernel)


def find_marks(text: str, marks: Mapping[str, str]) -> dict[str, re.Match[str]]:
    """Return the first match of each mark that is in `text`."""
    found = {name: re.search(pattern, text, re.MULTILINE) for name, pattern in marks.items()}
    return {name: match for name, match in found.items() if match}


def _check_hope(machine: Machine, missing: set[str], waited: float, limit: float) -> None:
    hint = f"{machine.name} did not reach: {', '.join(sorted(missing))}"
    text = machine.console_text()
    if fatal := first_fatal(text):
        raise ClusterError(f"a boot failed: {fatal.kind}: {fatal.line}", hint=hint)
    if machine.process is None:
        raise ClusterError("a machine ended while it booted", hint=hint)
    if waited > limit:
        last = next((line for line in reversed(plain(text).splitlines()) if line.strip()), "nothing")
        raise ClusterError(
            f"a boot took longer than {limit:.0f} s; the console's last line: {last}", hint=hint
        )
