# SPDX-License-Identifier: Apache-2.0
"""Where a node keeps what must survive a reboot."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

DEFAULT_FOLDER = Path("/var/lib/cluster-os")
VARIABLE = "CLUSTEROS_STATE"


class State(NamedTuple):
    """The state folder of a node (0711: the agent, a user of its own, has a folder in it) and its files.

    Each is written by the module named here.
    """

    folder: Path

    @property
    def identity(self) -> Path:
        """The node key, by agent/keystore.py."""
        return self.folder / "identity.json"

    @property
    def endorsement(self) -> Path:
        """The public endorsement key of the TPM, by agent/endorsement.py."""
        return self.folder / "endorsement.der"

    @property
    def facts(self) -> Path:
        """The hardware, by firstboot/."""
        return self.folder / "facts.json"

    @property
    def record(self) -> Path:
        """That first boot is complete, by firstboot/."""
        return self.folder / "firstboot.json"


def find_state(named: str | None, environment: Mapping[str, str] = os.environ) -> State:
    """Return the state that the command line names, or else the environment, or else the image's."""
    return State(Path(named or environment.get(VARIABLE) or DEFAULT_FOLDER))
