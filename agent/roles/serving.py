# SPDX-License-Identifier: Apache-2.0
"""The supervisor's end of its socket: takes an order, answers with a report."""

import logging
import socket

from agent.control.protocol import printable
from agent.control.stream import read_until, read_user, send
from agent.errors import ClusterError
from agent.roles.order import MAX_ORDER, decode_order, encode_report
from agent.roles.supervisor import Supervisor

READ_LIMIT = 5.0
_log = logging.getLogger("roles")


def serve(connection: socket.socket, supervisor: Supervisor, allowed: set[int]) -> None:
    """Take one order, and answer with a report. Who may order is the kernel's word (SO_PEERCRED)."""
    if read_user(connection) not in allowed:
        return
    line = read_until(connection, b"\n", limit=MAX_ORDER, time_limit=READ_LIMIT)
    if not line:
        return
    try:
        report = supervisor.take(decode_order(line))
    except ClusterError as error:
        _log.warning("refused an order: %s", printable(error.message))
        return
    send(connection, encode_report(report), time_limit=READ_LIMIT)
