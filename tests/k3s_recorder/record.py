# SPDX-License-Identifier: Apache-2.0
"""What the recorder saw."""

import json
import time
from pathlib import Path

FOLDER = Path("/var/lib/rancher/recorder")


class Record:
    """What happened, a line of JSON each. Never a token."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "record"

    def add(self, what: str, **more: object) -> None:
        """Write it down."""
        at = time.clock_gettime(time.CLOCK_BOOTTIME)
        with self._path.open("a") as out:
            out.write(json.dumps({"at": at, "what": what, **more}) + "\n")
