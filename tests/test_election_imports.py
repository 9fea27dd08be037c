# SPDX-License-Identifier: Apache-2.0
"""PySyncObj, once imported, leaves the rest of the process as it was."""

import socket

import agent.election.replica  # noqa: F401  for what it does to the others


def test_addresses_can_still_be_written_after_pysyncobj_was_imported() -> None:
    assert socket.inet_ntop(socket.AF_INET, b"\x7f\x00\x00\x01") == "127.0.0.1"
    assert socket.inet_ntop(socket.AF_INET6, bytes(15) + b"\x01") == "::1"
