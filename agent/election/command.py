# SPDX-License-Identifier: Apache-2.0
"""The commands in the Raft log: a byte for the kind, then what it says. Pure.

The kinds are PySyncObj's (syncobj.py, _COMMAND_TYPE), but it pickles what follows, and we do not:

    0  regular     a command of the state machine, as it is
    1  no-op       nothing; a new leader begins its term with it
    2  membership  "add ADDRESS" or "rem ADDRESS": who has a vote, from this entry on
"""

from collections.abc import Iterable

from agent.election.address import is_address
from agent.election.journal_format import Entry

REGULAR, NO_OP, MEMBERSHIP = 0, 1, 2
NOTHING = bytes([NO_OP])


def is_regular(command: bytes) -> bool:
    return command[:1] == bytes([REGULAR])


def is_command(command: bytes) -> bool:
    return is_regular(command) or command == NOTHING or parse_change(command) is not None


def change(verb: str, address: str) -> bytes:
    """Return what follows the kind in the membership command `add` or `rem`."""
    return f"{verb} {address}".encode()


def parse_change(command: bytes) -> tuple[str, str] | None:
    """Return `add` or `rem` and the address when `command` is a membership command."""
    if command[:1] != bytes([MEMBERSHIP]):
        return None
    verb, _, address = command[1:40].decode("ascii", "replace").partition(" ")
    if verb not in ("add", "rem") or not is_address(address) or len(command) >= 40:
        return None
    return verb, address


def voters_after(voters: Iterable[str], entries: Iterable[Entry]) -> frozenset[str]:
    """Return who votes when `entries` follow on a point where `voters` did.

    Raft counts by the newest change in its log, committed or not (Ongaro's dissertation, 4.1).
    """
    found = set(voters)
    for command, _, _ in entries:
        parsed = parse_change(command)
        if parsed is not None:
            verb, address = parsed
            (found.add if verb == "add" else found.discard)(address)
    return frozenset(found)
