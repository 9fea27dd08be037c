# SPDX-License-Identifier: Apache-2.0
"""The one module that talks to systemd: the daemon is up, how it stands, its loop still works."""

from systemd import daemon

from agent.status.document import NodeStatus


class Notifier:
    """Sends READY=1 after the first good tick, and feeds the watchdog after each one (sd_notify(3))."""

    def __init__(self) -> None:
        self._ready = False
        self._said = ""

    def tell(self, status: NodeStatus) -> None:
        """Tell systemd after a tick."""
        lines = ["WATCHDOG=1"]
        if not self._ready:
            lines.append("READY=1")
            self._ready = True
        if status.sentence != self._said:
            lines.append(f"STATUS={status.sentence}")
            self._said = status.sentence
        daemon.notify("\n".join(lines))
