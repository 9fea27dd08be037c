# SPDX-License-Identifier: Apache-2.0
"""What replicas say to each other: garbage, half messages and entries that no log may hold are refused."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.election import address, command, message
from agent.election.message import MAX_COMMAND
from agent.errors import ClusterError

NUMBER = st.integers(0, 2**40)
FINE: list[dict[str, Any]] = [
    {
        "type": "append_entries",
        "term": 3,
        "commit_index": 7,
        "entries": [[b"\x00a", 5, 2], [b"\x01", 6, 3], [b"\x02add 10.0.0.1:7950", 7, 3]],
        "prevLogIdx": 4,
        "prevLogTerm": 2,
    },
    {
        "type": "append_entries",
        "term": 3,
        "commit_index": 7,
        "entries": [],
        "prevLogIdx": None,
        "prevLogTerm": None,
    },
    {"type": "append_entries", "term": 3, "commit_index": 7, "serialized": [b"part", True, False]},
    {"type": "append_entries", "term": 3, "commit_index": 7, "serialized": None},
    {"type": "next_node_idx", "next_node_idx": 4, "reset": False, "success": True, "term": 3},
    {"type": "request_vote", "term": 3, "last_log_index": 4, "last_log_term": 2},
    {"type": "response_vote", "term": 3},
    {"type": "timeout_now", "term": 3},
    {"type": "apply_command", "command": b"\x00data", "request_id": 1},
    {"type": "apply_command_response", "request_id": 1, "error": 4},
    {"type": "apply_command_response", "request_id": 1, "log_idx": 4, "log_term": 2},
]


@pytest.mark.parametrize("content", FINE, ids=lambda content: content["type"])
def test_a_message_comes_out_as_it_went_in(content: dict[str, Any]) -> None:
    assert message.decode(message.encode(content)) == content


@given(data=st.binary(max_size=200))
def test_garbage_is_refused_or_a_message(data: bytes) -> None:
    with pytest.raises(ClusterError):
        message.decode(data)


@given(data=st.data())
def test_a_field_of_another_kind_is_refused(data: st.DataObject) -> None:
    content = dict(data.draw(st.sampled_from(FINE)))
    name = data.draw(st.sampled_from(sorted(content)))
    content[name] = data.draw(
        st.sampled_from([None, -1, 2**63, 1.5, "text", b"", [], {}, True, [[1]], [b"", 1], {"a": 1}])
    )
    try:
        decoded = message.decode(message.encode(content))
    except ClusterError:
        return
    # What is taken nevertheless has, for each field, a value of the kind that it may have.
    assert content in (decoded, content)
    assert content[name] is None or content[name] == [] or content[name] is True, (name, content[name])


@pytest.mark.parametrize("missing", ["term", "commit_index", "entries", "prevLogIdx", "type"])
def test_a_message_without_one_of_its_fields_is_refused(missing: str) -> None:
    content = {key: value for key, value in FINE[0].items() if key != missing}
    with pytest.raises(ClusterError):
        message.decode(message.encode(content))


def test_a_message_with_a_further_field_is_refused() -> None:
    with pytest.raises(ClusterError, match="wrong fields"):
        message.decode(message.encode({**FINE[6], "more": 1}))


@pytest.mark.parametrize(
    "entries",
    [
        [[b"\x00a", 6, 3]],  # a gap behind prevLogIdx
        [[b"\x00a", 5, 3], [b"\x00b", 5, 3]],
        [[b"\x00a", 5, 3], [b"\x00b", 6, 2]],
        [[b"\x00a", 5, 4]],  # of a later term than the leader's
        [[b"\x00a", 5, 1]],  # of an earlier one than what stands before it
        [[b"", 5, 3]],
        [[b"\x03", 5, 3]],  # PySyncObj's change of version
        [[b"\x02add 10.0.0.1", 5, 3]],
        [[b"\x02del 10.0.0.1:7950", 5, 3]],
        [[b"\x02add 10.0.0.1:7950 or so", 5, 3]],
        [[b"\x00" + bytes(MAX_COMMAND), 5, 3]],
    ],
)
def test_entries_that_no_log_may_hold_are_refused(entries: list[Any]) -> None:
    with pytest.raises(ClusterError):
        message.decode(message.encode({**FINE[0], "entries": entries}))


@pytest.mark.parametrize("data", [b"\x02add 10.0.0.1:7950", b"\x01", b"\x03x", b""])
def test_who_votes_is_not_changed_on_request(data: bytes) -> None:
    with pytest.raises(ClusterError):
        message.decode(message.encode({"type": "apply_command", "command": data, "request_id": 1}))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ClusterError):
        message.decode(b"\x91" * 5000 + b"\x90")
    with pytest.raises(ClusterError):
        message.decode(msgpack.packb({"type": ["append_entries"]}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.1",
        "10.0.0.1:0",
        "10.0.0.1:70000",
        "10.0.0.01:7950",
        "10.0.0.1:07950",
        "host:7950",
        "1.2.3:1",
        "::1:7950",
    ],
)
def test_an_address_has_one_form(text: str) -> None:
    assert not address.is_address(text)
    with pytest.raises(ValueError, match="not an address"):
        address.split(text)


def test_who_votes_follows_from_the_log() -> None:
    entries = [
        (b"\x02add 10.0.0.4:7950", 5, 1),
        (b"\x00\x02rem 10.0.0.1:7950", 6, 1),
        (b"\x02rem 10.0.0.2:7950", 7, 1),
    ]
    assert command.voters_after(["10.0.0.1:7950", "10.0.0.2:7950"], entries) == {
        "10.0.0.1:7950",
        "10.0.0.4:7950",
    }
