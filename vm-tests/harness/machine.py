# SPDX-License-Identifier: Apache-2.0
"""One virtual machine: switch it on and off, wait for it, run commands in it, read its console."""

import contextlib
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.errors import ClusterError
from harness import arguments, companions, disks, processes, qmp
from harness.acceleration import Acceleration
from harness.companions import KILL_LIMIT
from harness.console import first_fatal
from harness.guest import Guest
from harness.guestagent import GuestAgent, GuestAgentError
from harness.model import Boot, Json, NodePaths, NodeSpec
from harness.namespace import Namespace
from harness.waiting import wait_for
from image.toolstree import ToolsTree

BOOT_LIMIT = 300.0
"""Seconds from power-on to a guest agent that answers; TCG takes half a minute, on busy cores some."""
SHUTDOWN_LIMIT = 90.0
"""Seconds for an orderly shutdown, systemd's own limit for one stubborn unit."""


class Machine(Guest):
    """The node `spec` of the group whose state folder is `group`; made by `Group`."""

    def __init__(self, tools: ToolsTree, group: Path, paths: NodePaths, spec: NodeSpec) -> None:
        super().__init__(spec.name, GuestAgent(paths.socket("agent")))
        self.spec = spec
        self.paths = paths
        self._tools = tools
        self._group = group
        self._console_start = self._console_size()

    @property
    def group(self) -> str:
        """Name of the group that the machine belongs to."""
        return self._group.name

    @property
    def process(self) -> processes.Process | None:
        """The QEMU process, None while the machine is off."""
        return next(iter(processes.find(self._group, f"{self.name}.qemu")), None)

    @property
    def state(self) -> str:
        """`off`, `paused`, `booting` or `ready` (its guest agent answers)."""
        if self.process is None:
            return "off"
        try:
            if self.qmp("query-status")["status"] == "paused":
                return "paused"
        except qmp.QmpError:
            return "off" if self.process is None else "booting"
        return "ready" if self._agent_listens() and self.agent.ping() else "booting"

    @property
    def accelerator(self) -> str | None:
        """`kvm` or `tcg`, whatever the machine runs under; None while it is off or just being started."""
        if self.process is not None:
            with suppress(qmp.QmpError):
                return "kvm" if self.qmp("query-kvm")["enabled"] else "tcg"
        return None

    def start(self, namespace: Namespace, acceleration: Acceleration, boot: Boot | None = None) -> None:
        """Switch the machine on; raises ClusterError with QEMU's own words when it does not start."""
        if self.process is not None:
            return
        boot = boot or Boot()
        companions.end(self._group, self.paths)
        tap = namespace.add_port(self.name)
        if self.spec.tpm:
            companions.start_tpm(self._tools, self._group, self.paths)
        if tap is None:
            companions.start_relay(namespace, self._group, self.paths)
        argv = arguments.qemu(
            self.spec,
            self.paths,
            group=self.group,
            acceleration=acceleration,
            tap=tap,
            clock=boot.clock,
            smbios=self._write_credentials(boot),
        )
        self._console_start = self._console_size()
        self.boot_id = ""
        companions.start_qemu(self._group, self.paths, namespace.command(self._tools.command(argv)))

    def wait_ready(self, limit: float = BOOT_LIMIT, *, after: str = "") -> None:
        """Wait until the guest agent answers, in another boot than the one with boot id `after`.

        Fails at once, and not after the limit, when QEMU ends or the console shows that nothing can come.
        """

        def answered() -> str | None:
            self._check_hope()
            boot_id = self.see_boot() if self._agent_listens() else ""
            return boot_id if boot_id != after else None

        self.boot_id = wait_for(
            f"{self.name} to be ready", answered, limit, hint=f"look into {self.paths.console}"
        )

    def qmp(self, command: str, arguments: dict[str, Any] | None = None) -> Json:
        """Run a QMP command."""
        return qmp.execute(self.paths.socket("qmp"), command, arguments)

    def set_link(self, up: bool) -> None:
        """Plug the network cable in or pull it."""
        self.qmp("set_link", {"name": "net", "up": up})

    def reset(self) -> None:
        """Press the reset button."""
        self.boot_id = ""
        self.qmp("system_reset")

    def reboot(self, limit: float = BOOT_LIMIT) -> None:
        """Reboot in good order and wait until the machine is back."""
        before = self.see_boot()
        self._console_start = self._console_size()
        # The agent may end before it has told how the command ended; the new boot tells that.
        with contextlib.suppress(GuestAgentError):
            self.execute(["systemctl", "--no-block", "reboot"])
        self.wait_ready(limit, after=before)

    def power_cut(self) -> None:
        """Pull the plug: QEMU is killed, so that what the guest has not flushed may be lost."""
        self.boot_id = ""
        if (process := self.process) is not None:
            process.signal(signal.SIGKILL)
            process.wait(KILL_LIMIT)
        companions.end(self._group, self.paths)

    def shutdown(self, limit: float = SHUTDOWN_LIMIT) -> bool:
        """Switch off in good order, after `limit` by force; False if by force."""
        self.ask_to_power_off()
        return self.finish(limit)

    def ask_to_power_off(self) -> None:
        """Ask the guest's systemd, or press the power button where no agent answers."""
        try:
            if self._agent_listens() and self.agent.ping():
                self.execute(["systemctl", "--no-block", "poweroff"])
            else:
                self.qmp("system_powerdown")
        except ClusterError:
            pass  # it may be on its way already; `finish` sees whether it is

    def finish(self, limit: float) -> bool:
        """Wait until the machine is off, and after `limit` seconds quit it; False if that was needed."""
        self.boot_id = ""
        process = self.process
        orderly = process is None or (limit > 0 and process.wait(limit))
        if not orderly:
            self.quit()
        companions.end(self._group, self.paths)
        return orderly

    def quit(self) -> None:
        """End QEMU now: by QMP, which writes its caches out, else by signals."""
        process = self.process
        if process is None:
            return
        with suppress(qmp.QmpError):  # the signals below need no answer
            self.qmp("quit")
        if not process.wait(KILL_LIMIT):
            process.end(grace=KILL_LIMIT)

    def console_text(self, *, whole: bool = False) -> str:
        """What the serial console said since this start, or (`whole`) since the node was made."""
        if not self.paths.console.exists():
            return ""
        with self.paths.console.open("rb") as file:
            file.seek(0 if whole else self._console_start)
            return file.read().decode(errors="replace")

    def wait_console(self, pattern: str, limit: float = BOOT_LIMIT) -> re.Match[str]:
        """Wait until the console since this start matches `pattern` (multi-line regular expression)."""
        wanted = re.compile(pattern, re.MULTILINE)

        def seen() -> re.Match[str] | None:
            if match := wanted.search(self.console_text()):
                return match
            if self.process is None:
                raise ClusterError(
                    f"{self.name} ended without {pattern!r} on its console", hint=str(self.paths.console)
                )
            return None

        return wait_for(
            f"{pattern!r} on the console of {self.name}", seen, limit, hint=f"look into {self.paths.console}"
        )

    def _agent_listens(self) -> bool:
        """True when a process in the guest has the agent's port open; else a request would only time out."""
        with suppress(qmp.QmpError):
            ports = {port["label"]: port["frontend-open"] for port in self.qmp("query-chardev")}
            return bool(ports.get("agent"))
        return False

    def _check_hope(self) -> None:
        hint = f"look into {self.paths.console}"
        if self.process is None:
            raise ClusterError(f"{self.name} has ended while it was waited for", hint=hint)
        if fatal := first_fatal(self.console_text()):
            raise ClusterError(f"{self.name} cannot become ready: {fatal.kind}: {fatal.line}", hint=hint)

    def _write_credentials(self, boot: Boot) -> list[Path]:
        credentials = dict(boot.credentials)
        if self.spec.network_credential:
            credentials["network.network.10-vm"] = arguments.network_unit(self.spec, self.group)
        folder = disks.private_folder(self.paths.credentials)
        for old in folder.iterdir():
            old.unlink()
        files = []
        for name, text in arguments.credential_strings(credentials).items():
            file = folder / name
            file.touch(mode=0o600)
            file.write_text(text)
            files.append(file)
        return files

    def _console_size(self) -> int:
        return self.paths.console.stat().st_size if self.paths.console.exists() else 0
