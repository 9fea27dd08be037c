# SPDX-License-Identifier: Apache-2.0
"""How large a Serf query and its answer can be. Pure.

memberlist sends packets of 1400 bytes (UDPBufferSize of its LAN profile). Of them 2 are a header, 29 the
encryption, and 3 go before each message, so a query of more than 1366 bytes would wait for ever to be sent;
with IPv6 and UDP headers a packet still fits into an Ethernet frame.

Serf's limit counts its own envelope too: field names, the sender's name and address, and the name of each
node that is asked. tests/cluster/test_serf.py finds the true limits by trying.
"""

from collections.abc import Sequence

QUERY_BYTES = 1350  # query_size_limit and query_response_size_limit
_ENVELOPE = 197  # with a name of 8 characters, IPv6, and the longest numbers
_ANSWER_ENVELOPE = 110
ANSWER_ROOM = QUERY_BYTES - _ANSWER_ENVELOPE
"""Bytes that the payload of an answer may have: 1240."""


def query_room(nodes: Sequence[str] = ()) -> int:
    """Return the bytes that a payload to the nodes of these Serf names may have: 1153 to all, 1088 to one.

    Negative when so many cannot be named.
    """
    names = sum(len(node.encode()) + 3 for node in nodes)
    return QUERY_BYTES - _ENVELOPE - (names + 5 if nodes else 0)
