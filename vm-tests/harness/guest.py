# SPDX-License-Identifier: Apache-2.0
"""What can be asked of a running guest, through its guest agent and so without any network."""

import secrets
import shlex
from collections.abc import Sequence
from typing import Any

from agent.errors import ClusterError
from harness.guestagent import GuestAgent
from harness.model import Result

BOOTED_LIMIT = 240.0
"""Seconds from a guest agent that answers to the end of the boot jobs, under TCG on busy cores."""
PASS_STATUS = 123
"""Exit status of the guest's part of `attest`; mkosi's and systemd's tests use the same number."""


class Guest:
    """The guest `name` behind a guest agent.

    `boot_id` is the boot that was last seen to be ready; empty once it was switched off or reset on purpose.
    """

    def __init__(self, name: str, agent: GuestAgent) -> None:
        self.name = name
        self.agent = agent
        self.boot_id = ""

    def see_boot(self) -> str:
        """Return the boot id of the guest, empty while it does not answer."""
        try:
            return self.read("/proc/sys/kernel/random/boot_id")
        except ClusterError:  # it went down between the two
            return ""

    def system_state(self, limit: float = BOOTED_LIMIT) -> str:
        """Wait until the boot jobs are done and return what systemd says: `running` is healthy."""
        return self.execute(["systemctl", "is-system-running", "--wait"], limit=limit).text

    def execute(self, argv: Sequence[str], *, stdin: bytes | None = None, limit: float = 60.0) -> Result:
        """Run a program in the guest, as root, and return how it ended."""
        return self.agent.execute(argv, stdin=stdin, limit=limit)

    def run(self, *argv: str, stdin: bytes | None = None, limit: float = 60.0) -> str:
        """Run a program that must succeed and return its output; raises ClusterError with what it said."""
        result = self.execute(argv, stdin=stdin, limit=limit)
        if result.status:
            said = (result.stderr or result.stdout).decode(errors="replace").strip()
            raise ClusterError(f"{self.name}: {shlex.join(argv)} ended with {result.status}: {said}")
        return result.text

    def read(self, path: str) -> str:
        """Return a file of the guest as text."""
        return self.run("cat", path)

    def interfaces(self) -> list[dict[str, Any]]:
        """Network interfaces as the guest agent tells them (guest-network-get-interfaces)."""
        answer: list[dict[str, Any]] = self.agent.call("guest-network-get-interfaces")
        return answer

    def addresses(self) -> list[str]:
        """IP addresses of the guest, without loopback."""
        found = (address for link in self.interfaces() for address in link.get("ip-addresses", []))
        wanted = [address["ip-address"] for address in found]
        return [address for address in wanted if address != "::1" and not address.startswith("127.")]

    def attest(self) -> None:
        """Make sure that the guest is alive, and still in the boot that `wait_ready` saw.

        This is the pass status that a dying VM cannot produce: PASS_STATUS is the exit status of a program
        that compared the boot id in the guest, and it comes with the answer to a random number of ours. A VM
        that panicked, rebooted by itself, or went away gives another status or none. (systemd's
        `SuccessAction=exit` needs a channel out of the VM that QEMU has only with a kernel's vsock, which not
        every machine has; isa-debug-exit needs /dev/port, which Debian's cloud kernel does not have.)
        """
        word = secrets.token_hex(8)
        script = 'read -r id </proc/sys/kernel/random/boot_id && test "$id" = "$1" && echo "$2" && exit "$3"'
        argv = ["sh", "-c", script, "attest", self.boot_id, word, str(PASS_STATUS)]
        result = self.execute(argv)
        if (result.status, result.text) != (PASS_STATUS, word):
            raise ClusterError(
                f"{self.name} is not in the boot that was tested", hint="it rebooted by itself"
            )
