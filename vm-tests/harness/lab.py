# SPDX-License-Identifier: Apache-2.0
"""Machines for one test file: what vm-tests/conftest.py hands to tests, and what judges them afterwards."""

from collections.abc import Collection
from pathlib import Path

from agent.errors import ClusterError
from harness import console
from harness.group import Group
from harness.machine import Machine
from harness.model import Boot, NodeSpec


class Lab:
    """A group of machines whose consoles are judged after every test.

    `kept` is the folder that logs of failed tests go to.
    """

    def __init__(self, group: Group, image: Path, kept: Path) -> None:
        self.group = group
        self._image = image
        self._kept = kept
        self._judged: dict[str, int] = {}
        self._failed = False

    def start(self, spec: NodeSpec, boot: Boot | None = None) -> Machine:
        """Make the machine unless it exists, and switch it on."""
        return self.group.start(self.make(spec), boot)

    def make(self, spec: NodeSpec) -> Machine:
        """Make the machine unless it exists, and leave it switched off."""
        self.group.create(self._image)
        return self.group.add(spec)

    def judge(self, expected: Collection[str]) -> None:
        """Raise ClusterError unless the consoles are clean and the machines alive.

        Looked at is what the consoles said since the last judgement, apart from the kinds of finding in
        `expected`. Alive must be what was ready and was not switched off or reset by the test.
        """
        complaints = [
            f"{name}: {found}"
            for name, text in self._new_console_text().items()
            for found in console.scan(text, expected=expected)
        ]
        if complaints:
            raise ClusterError("a console says what no healthy machine says:\n  " + "\n  ".join(complaints))
        for machine in self.group.machines():
            if machine.boot_id:
                machine.attest()

    def forget(self) -> None:
        """Take what the consoles said so far as judged."""
        self._new_console_text()

    def keep(self, test: str) -> list[str]:
        """Keep consoles and journals for a failed test; return commands that look at them."""
        self._failed = True
        folder = self._kept / test
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for machine in self.group.machines():
            log = folder / f"{machine.name}.console.log"
            log.write_text(machine.console_text(whole=True))
            lines.append(f"less -R {log}")
            if machine.state == "ready":
                journal = folder / f"{machine.name}.journal.log"
                journal.write_text(_journal(machine))
                lines.append(f"less {journal}")
        return lines

    def close(self, *, keep_failed: bool) -> None:
        """Leave nothing behind, or with `keep_failed` the running machines of a file with a failed test."""
        if not (self._failed and keep_failed):
            self.group.down(purge=True)

    def _new_console_text(self) -> dict[str, str]:
        new = {}
        for machine in self.group.machines():
            text = machine.console_text(whole=True)
            new[machine.name] = text[self._judged.get(machine.name, 0) :]
            self._judged[machine.name] = len(text)
        return new


def _journal(machine: Machine) -> str:
    try:
        return machine.run("journalctl", "--boot", "--no-pager", "--output=short-monotonic")
    except ClusterError as error:
        return f"{error}\n"
