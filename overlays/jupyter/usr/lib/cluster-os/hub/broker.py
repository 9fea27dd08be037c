# SPDX-License-Identifier: Apache-2.0
"""The broker: root, for one request of the hub (clusteros-jupyterhub-broker@.service). It owns nothing.

The hub itself is an unprivileged user, so that a hole in it does not give a machine away: it can act for
users of the cluster, as a hub must, and for nobody else.
"""

import logging
import os
import pwd
import signal
import socket
import subprocess
import sys

from agent.errors import ClusterError
from hub import request as requests
from hub.request import Answer, Authenticate, Request, Run

SERVICE = "jupyterhub"
"""The file of /etc/pam.d."""
TIME_LIMIT = 60
"""Seconds for the whole: SLURM's commands wait for a controller that moves."""
_HINT = "see: journalctl -u jupyterhub"
_PATH = "/usr/bin:/bin"
_log = logging.getLogger("broker")


def main() -> int:
    """Serve the connection that is standard input. Returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # A request that stands still ends with its process.
    signal.alarm(2 * TIME_LIMIT)
    with socket.socket(fileno=os.dup(0)) as connection:
        try:
            answer = carry_out(requests.decode_request(receive(connection)))
        except ClusterError as error:
            _log.warning("refused: %s", error.message)
            answer = Answer(126, errors=error.message)
        connection.sendall(requests.encode(answer))
    return 0


def receive(connection: socket.socket) -> bytes:
    """Return what the other end says until it has said all."""
    data = b""
    while part := connection.recv(1 << 16):
        data += part
        if len(data) > requests.MAX_BYTES:
            raise ClusterError("too long")
    return data


def carry_out(request: Request) -> Answer:
    """Do what is asked, for a user of the cluster."""
    user = find_user(request.user)
    if isinstance(request, Authenticate):
        return _authenticate(request)
    return _run(request, user)


def find_user(name: str) -> pwd.struct_passwd:
    """Return the user; ClusterError for one that is no user of the cluster."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise ClusterError(f"there is no user {name}", hint=_HINT) from None
    if user.pw_uid not in requests.UIDS or user.pw_gid not in requests.UIDS:
        raise ClusterError(f"{name} is no user of the cluster", hint=_HINT)
    return user


def _authenticate(request: Authenticate) -> Answer:
    import pamela  # noqa: PLC0415  only the image has it

    try:
        pamela.authenticate(request.user, request.password, service=SERVICE, resetcred=0)
        pamela.check_account(request.user, service=SERVICE)
    except pamela.PAMError as error:
        _log.info("%s: %s", request.user, error.message)
        return Answer(1, errors=str(error.message))
    _log.info("%s: the password is right", request.user)
    return Answer(0)


def _run(request: Run, user: pwd.struct_passwd) -> Answer:
    try:
        done = subprocess.run(
            request.command,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=os.getgrouplist(user.pw_name, user.pw_gid),
            env={**request.environment, "PATH": _PATH},
            cwd="/",
            input=request.input.encode(),
            capture_output=True,
            timeout=TIME_LIMIT,
            check=False,
            umask=0o077,
        )
    except subprocess.TimeoutExpired:
        return Answer(124, errors=f"{request.command[0]} gave no answer in {TIME_LIMIT} s")
    except OSError as error:
        return Answer(127, errors=f"{request.command[0]} does not start: {error.strerror}")
    output, errors = (part.decode(errors="replace")[:65536] for part in (done.stdout, done.stderr))
    _log.info("%s: %s: status %d %s", request.user, request.command[0], done.returncode, output.strip()[:80])
    return Answer(done.returncode, output, errors)
