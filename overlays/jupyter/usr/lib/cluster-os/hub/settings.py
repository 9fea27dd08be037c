# SPDX-License-Identifier: Apache-2.0
"""What the hub's programs know of the cluster (from the supervisor of roles), and the role's secrets."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from agent.errors import ClusterError
from agent.status import schema
from agent.status.schema import Range, Text

FILE = Path("/run/clusteros-jupyterhub/role.json")
FOLDER = Path("/var/lib/clusteros-jupyterhub")
"""The live database."""
SNAPSHOTS = Path("/var/lib/clusteros-jupyterhub-snapshots")
TLS = Path("/run/clusteros-jupyterhub-proxy")
"""Key and certificate of the proxy, and `ca.crt`, the authority's certificate, which everybody may read."""
PUBLIC_PORT, HUB_PORT, PROXY_API_PORT = 8443, 8081, 8001
MIN_SECRET = 32
_HINT = "it is written by the supervisor of roles: see systemctl status clusteros-roles"


@dataclass(frozen=True)
class Settings:
    """The cluster's name, the lease's epoch, the mesh's networks (CIDR), and addresses.

    `address` is the role's own and moves with it, `ipv4` that of this member on the mesh.
    """

    cluster: Annotated[str, Text(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")]
    epoch: Annotated[int, Range(1, (1 << 63) - 1)]
    address: Annotated[str, Text(r"[0-9a-f:]{2,39}")]
    ipv4: Annotated[str, Text(r"[0-9.]{7,15}")]
    ranges: tuple[Annotated[str, Text(r"[0-9a-f:.]{2,39}/[0-9]{1,3}")], ...]

    @property
    def hub_url(self) -> str:
        """Where the hub itself listens: for the proxy, and for notebooks on all members."""
        return f"http://[{self.address}]:{HUB_PORT}"


def read_settings(path: Path = FILE) -> Settings:
    """Read them. ClusterError when they are not there, or not of this form."""
    try:
        return schema.decode(Settings, json.loads(path.read_bytes()), str(path))
    except (OSError, ValueError) as error:
        raise ClusterError(f"cannot read {path}: {error}", hint=_HINT) from None


def read_secret(name: str) -> bytes:
    """Return a secret of the role, which systemd hands over as a credential of the unit."""
    try:
        secret = Path(os.environ["CREDENTIALS_DIRECTORY"], name).read_bytes()
    except (OSError, KeyError):
        secret = b""
    if len(secret) < MIN_SECRET:
        raise ClusterError(f"the credential {name!r}, a secret of the role, is missing", hint="see its unit")
    return secret
