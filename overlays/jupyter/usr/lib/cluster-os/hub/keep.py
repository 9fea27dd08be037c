# SPDX-License-Identifier: Apache-2.0
"""`clusteros-jupyterhub-snapshots.service`: brings the newest database here, then makes snapshots."""

import logging
import signal
import sys
import threading
import time

from systemd import daemon as systemd_daemon

from agent.errors import ClusterError
from hub.settings import FOLDER, SNAPSHOTS, read_settings
from hub.snapshots import APART, Watch, begin, name_live

PERIOD = 0.2
"""Seconds between two looks at the database."""
_log = logging.getLogger("snapshots")


def main() -> int:
    """Run until SIGTERM. Returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    live = name_live(FOLDER, read_settings().epoch)
    if begin(SNAPSHOTS, live):
        _log.info("%s is the newest snapshot", live.name)
    systemd_daemon.notify("READY=1")
    watch = Watch(SNAPSHOTS, live)
    last, said = 0.0, ""
    while True:
        # The last look, for what the hub wrote while it stopped, waits for nothing.
        ended = stopping.wait(PERIOD)
        now = time.monotonic()
        if ended or now - last >= APART:
            try:
                last = now if watch.look() else last
                said = ""
            except ClusterError as error:
                if error.message != said:
                    said = error.message
                    _log.warning("%s", said)
                watch.close()
        if ended:
            return 0
