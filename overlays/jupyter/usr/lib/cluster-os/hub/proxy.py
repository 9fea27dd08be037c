# SPDX-License-Identifier: Apache-2.0
"""Start configurable-http-proxy with a fresh certificate: what `clusteros-jupyterhub-proxy.service` runs.

It is a unit of its own, so that connections to notebooks outlive the hub. Owns the files of its runtime
directory (settings.TLS).
"""

import os
from datetime import UTC, datetime

from agent import files
from agent.status.addresses import read_addresses
from agent.tree import Tree
from hub.certificate import derive_authority, issue
from hub.settings import PROXY_API_PORT, PUBLIC_PORT, TLS, Settings, read_secret, read_settings

PROGRAM = "/usr/bin/configurable-http-proxy"


def main() -> int:
    """Become the proxy."""
    settings = read_settings()
    token = read_secret("proxy").hex()
    authority = derive_authority(read_secret("tls"), settings.cluster, settings.ranges)
    issued = issue(authority, [settings.address, *read_addresses(Tree("/"))], datetime.now(UTC))
    files.replace(TLS / "server.key", issued.key, mode=0o600)
    # With the authority's own certificate, so that `clusteros-jupyterhub-ca` finds it there.
    files.replace(TLS / "server.crt", issued.certificate + authority.pem, mode=0o644)
    files.replace(TLS / "ca.crt", authority.pem, mode=0o644)
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    os.execve(PROGRAM, compose(settings), {**environment, "CONFIGPROXY_AUTH_TOKEN": token})  # noqa: S606


def compose(settings: Settings) -> list[str]:
    """Return the command line; the token is no part of it, as everybody could read it there."""
    return [
        PROGRAM,
        # On all addresses, so that an operator can open the port; until then the firewall keeps others out.
        *("--ip", "::", "--port", str(PUBLIC_PORT)),
        *("--ssl-key", str(TLS / "server.key"), "--ssl-cert", str(TLS / "server.crt")),
        *("--api-ip", "127.0.0.1", "--api-port", str(PROXY_API_PORT)),
        *("--default-target", settings.hub_url, "--error-target", f"{settings.hub_url}/hub/error"),
        *("--log-level", "warn"),
    ]
