# SPDX-License-Identifier: Apache-2.0
"""Is the hub there, as a browser would see it? The role's health command, and what its start waits for."""

import http.client
import os
import ssl
import time

from agent.errors import ClusterError
from hub.certificate import NAME
from hub.settings import PUBLIC_PORT, TLS

TIME_LIMIT = 10.0
"""Seconds for one answer."""
RENEW = 14 * 86400
"""Seconds before its end that a certificate counts as a fault: the units start again, with a new one."""


def main(arguments: list[str]) -> int:
    """Look once, or `SECONDS PID`: until the hub is there, or its process is not. Returns 0; 1 says why."""
    limit, pid = (float(arguments[0]), int(arguments[1])) if arguments else (0.0, 0)
    until = time.monotonic() + limit
    while True:
        try:
            look(time.time())
            return 0
        except ClusterError as error:
            if time.monotonic() >= until or not _lives(pid):
                print(f"error: {error.message}")
                return 1
        time.sleep(1)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def look(now: float) -> None:
    """Ask the hub, through the proxy and its certificate. ClusterError: what is wrong. `now`: Unix time."""
    try:
        context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
        connection = http.client.HTTPSConnection(NAME, PUBLIC_PORT, timeout=TIME_LIMIT, context=context)
        try:
            connection.connect()
            left = ssl.cert_time_to_seconds(_not_after(connection)) - now
            connection.request("GET", "/hub/health")
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(f"JupyterHub does not answer: {error}") from None
    if status != http.client.OK:
        raise ClusterError(f"JupyterHub answers with {status}")
    if left < RENEW:
        raise ClusterError("the certificate of JupyterHub ends soon")


def _not_after(connection: http.client.HTTPSConnection) -> str:
    sock = connection.sock
    assert isinstance(sock, ssl.SSLSocket)
    return str((sock.getpeercert() or {})["notAfter"])
