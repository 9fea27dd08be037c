# SPDX-License-Identifier: Apache-2.0
"""`jupyterhub-ca`: print the certificate that users of JupyterHub have to trust, on any member.

It is asked of the hub's proxy itself, unverified: what proves it is the mesh, on which nobody but the holder
of the role has the address of `jupyterhub`.
"""

import hashlib
import socket
import ssl
import sys

from agent.errors import ClusterError
from hub.certificate import NAME
from hub.settings import PUBLIC_PORT

TIME_LIMIT = 10.0
"""Seconds for the answer."""


def main() -> int:
    """Print the certificate, and to standard error its fingerprint. Returns the exit status."""
    authority = fetch()
    print(ssl.DER_cert_to_PEM_cert(authority), end="")
    digest = hashlib.sha256(authority).digest()
    print(f"SHA-256 {digest.hex(':').upper()}", file=sys.stderr)
    return 0


def fetch() -> bytes:
    """Return the certificate (DER) at the end of the chain that the proxy shows."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((NAME, PUBLIC_PORT), TIME_LIMIT) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as secure,
        ):
            chain = _read_chain(secure)
    except OSError as error:
        raise ClusterError(
            f"JupyterHub does not answer: {error}", hint="see who has it: node-agent roles"
        ) from None
    if len(chain) < 2:
        raise ClusterError(
            "JupyterHub shows no authority", hint="see: journalctl -u clusteros-jupyterhub-proxy"
        )
    return bytes(chain[-1])


def _read_chain(secure: ssl.SSLSocket) -> list[bytes]:
    """Return what the other end showed: the method is new in Python 3.13, which is the image's."""
    found: list[bytes] = getattr(secure, "get_unverified_chain")()  # noqa: B009
    return found
