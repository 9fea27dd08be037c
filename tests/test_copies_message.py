# SPDX-License-Identifier: Apache-2.0
"""Messages about copies survive the wire, and nothing else is one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.copies.message import (
    Commit,
    Drop,
    End,
    Fence,
    Fetch,
    Held,
    Message,
    Put,
    Stored,
    decode,
    encode,
)
from agent.copies.version import NONE, Version
from agent.errors import ClusterError
from tests.wire_values import damage

EACH: tuple[Message, ...] = (
    Fence(3),
    Held(Version(2, 9), 3),
    Fetch(),
    Put("hash.3/job.13/script", 0o600, 12),
    Drop("job_state"),
    Commit(Version(3, 1), None),
    Commit(Version(3, 2), Version(3, 1)),
    Stored(taken=True, held=Version(3, 2)),
    End(NONE),
)


@pytest.mark.parametrize("message", EACH, ids=lambda message: type(message).__name__)
def test_each_message_survives(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../b", ".hidden", "a//b", "a/", "a/b/c/d/e/f", "a b", "x" * 101]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    for kind in ({"do": "drop"}, {"do": "put", "mode": 0, "bytes": 0}):
        with pytest.raises(ClusterError):
            decode(json.dumps({**kind, "name": name}).encode())


@given(st.sampled_from(EACH).flatmap(lambda message: damage(encode(message))))
def test_damage_is_refused_or_harmless(line: bytes) -> None:
    try:
        found = decode(line)
    except ClusterError:
        return
    assert isinstance(found, Message)
    assert decode(encode(found)) == found
