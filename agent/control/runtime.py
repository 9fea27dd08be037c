# SPDX-License-Identifier: Apache-2.0
"""Where a running agent can be met: the folder of what is gone at the next boot."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

DEFAULT_FOLDER = Path("/run/cluster-os")
VARIABLE = "CLUSTEROS_RUN"


class Runtime(NamedTuple):
    """The runtime folder of a node (0755) and the files in it; each is written by the module named here."""

    folder: Path

    @property
    def socket(self) -> Path:
        """The control socket, by agent/control/server.py."""
        return self.folder / "agent.sock"

    @property
    def status(self) -> Path:
        """The status document, by agent/status/published.py."""
        return self.folder / "status.json"


def find_runtime(named: str | None, environment: Mapping[str, str] = os.environ) -> Runtime:
    """Return the runtime folder that the command line names, or else the environment, or else the image's."""
    return Runtime(Path(named or environment.get(VARIABLE) or DEFAULT_FOLDER))
