# SPDX-License-Identifier: Apache-2.0
"""The lines of the control socket: what is one comes back as it was, and what is none is refused in words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.control import protocol
from agent.errors import ClusterError
from tests.example_status import NODES

GOOD: list[dict[str, Any]] = [
    {"request": "status"},
    {"request": "approve", "node": NODES[0]},
    {"request": "remove", "node": NODES[0]},
    {"request": "leave"},
    {"request": "join", "credential": "{}"},
    {"request": "join", "host": "seed.example:7946"},
    {"request": "token", "ttl": 86400},
    {"request": "recover", "confirm": False, "drop": []},
    {"request": "recover", "confirm": True, "drop": NODES[:3]},
    {"request": "reset", "role": "k3s-server"},
    {"request": "reload"},
    {"request": "support"},
    {"request": "users"},
    {"request": "users-set", "users": [{"name": "alice", "uid": 1001}]},
    {"request": "users-add", "user": {"name": "alice", "uid": 1001}},
    {"request": "users-change", "name": "alice", "values": {"shell": "/bin/sh"}},
    {"request": "users-remove", "name": "alice"},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    max_leaves=8,
)
REQUEST = st.fixed_dictionaries(
    {"request": st.sampled_from(protocol.REQUESTS) | JSON},
    optional=dict.fromkeys(
        ("node", "credential", "host", "ttl", "drop", "users", "user", "name", "values", "other"), JSON
    ),
)


@pytest.mark.parametrize("request_", GOOD, ids=lambda request_: request_["request"])
def test_every_request_comes_back_as_it_was(request_: dict[str, object]) -> None:
    assert protocol.decode_request(protocol.encode_request(request_)) == request_


def test_every_request_has_an_example_here() -> None:
    assert {request["request"] for request in GOOD} == set(protocol.REQUESTS)


@given(REQUEST)
def test_a_request_is_taken_as_it_is_or_refused(request_: dict[str, object]) -> None:
    try:
        found = protocol.decode_request(json.dumps(request_).encode() + b"\n")
    except ClusterError as error:
        assert error.message.isprintable()
    else:
        assert found == request_


@given(st.binary(max_size=200) | JSON.map(lambda content: json.dumps(content).encode() + b"\n"))
def test_garbage_is_no_request(line: bytes) -> None:
    with pytest.raises(ClusterError):
        protocol.decode_request(line)


@given(st.binary(max_size=200) | JSON.map(lambda content: json.dumps(content).encode() + b"\n"))
def test_garbage_is_no_answer(line: bytes) -> None:
    with pytest.raises(ClusterError):
        protocol.decode_answer(line)


@given(st.fixed_dictionaries({"ok": JSON}, optional=dict.fromkeys(("answer", "error", "hint"), JSON)))
def test_an_answer_is_taken_as_it_is_or_an_error(content: dict[str, object]) -> None:
    try:
        found = protocol.decode_answer(json.dumps(content).encode() + b"\n")
    except ClusterError:
        return
    assert json.dumps(found) == json.dumps(content["answer"])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "no such request; there are status, approve, remove"),
        ({"request": ["status"]}, "no such request"),
        ({"request": "status", "node": NODES[0]}, "the request status takes no argument"),
        ({"request": "approve"}, "the request approve takes node"),
        ({"request": "approve", "node": "n-7kq"}, "the request approve has a bad value for node"),
        ({"request": "join"}, "the request join takes credential or host"),
        ({"request": "join", "credential": "x", "host": "y"}, "the request join takes credential or host"),
        ({"request": "join", "host": "-x"}, "the request join has a bad value for host"),
        ({"request": "token", "ttl": 59}, "the request token has a bad value for ttl"),
        ({"request": "token", "ttl": True}, "the request token has a bad value for ttl"),
        ({"request": "recover", "confirm": 1, "drop": []}, "the request recover has a bad value for confirm"),
        (
            {"request": "recover", "confirm": True, "drop": [NODES[0]] * 1001},
            "the request recover has a bad value for drop",
        ),
    ],
)
def test_a_bad_request_is_explained(request_: dict[str, object], message: str) -> None:
    with pytest.raises(ClusterError) as caught:
        protocol.encode_request(request_)
    assert caught.value.message.startswith(message)


def test_a_bad_credential_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ClusterError) as caught:
        protocol.encode_request({"request": "join", "credential": "SECRET" * 100_000})
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("192.0.2.1", True),
        ("192.0.2.1:7946", True),
        ("seed-1.example.org", True),
        ("seed:1", True),
        ("seed:0", False),
        ("seed:65536", False),
        ("seed:", False),
        ("2001:db8::1", True),
        ("::1", True),
        ("[2001:db8::1]:7946", True),
        ("[2001:db8::1", False),
        ("", False),
        (".", False),
        ("a b", False),
        ("a/b", False),
        ("x" * 254, False),
    ],
)
def test_a_host_has_one_of_three_forms(text: str, valid: bool) -> None:
    assert protocol.is_host(text) is valid


def test_what_is_too_long_is_refused_on_both_sides() -> None:
    with pytest.raises(ClusterError, match="at most 524288 bytes"):
        protocol.decode_request(b'{"request": "status"}' + b" " * protocol.MAX_REQUEST + b"\n")
    with pytest.raises(ClusterError, match="the answer is longer"):
        protocol.encode_answer({"x": "y" * protocol.MAX_ANSWER})
    with pytest.raises(ClusterError, match="at most 4194304 bytes"):
        protocol.decode_answer(b"{}" + b" " * protocol.MAX_ANSWER + b"\n")


def test_an_error_comes_back_with_its_hint() -> None:
    line = protocol.encode_error(ClusterError("it is \x1b[2J wrong:\n  here", hint="do that"))
    with pytest.raises(ClusterError) as caught:
        protocol.decode_answer(line)
    assert (caught.value.message, caught.value.hint) == ("it is  [2J wrong:\n  here", "do that")
