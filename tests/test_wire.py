# SPDX-License-Identifier: Apache-2.0
"""A body has one encoding, an envelope one signer and one purpose, and garbage is refused by a sentence."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.signature import sign
from agent.wire import Fields

SEED = b"\x01" * 32
NODE = identity_of_seed(SEED)
CONTEXT = "cluster/test"

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | text | st.binary(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(text, values, max_size=4)


def nested(levels: int) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for _ in range(levels - 1):
        body = {"in": body}
    return body


@given(bodies)
def test_a_body_comes_back_as_it_was(body: dict[str, Any]) -> None:
    if depth(body) <= wire.MAX_DEPTH:
        assert wire.unpack(wire.pack(body)) == body


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def test_the_order_of_the_keys_does_not_matter() -> None:
    assert wire.pack({"b": 1, "a": {"d": 1, "c": 2}}) == wire.pack({"a": {"c": 2, "d": 1}, "b": 1})


def test_a_known_body_keeps_its_encoding() -> None:
    body: dict[str, Any] = {"n": None, "b": True, "i": -1, "t": "é", "x": b"\0", "l": (1, 300), "m": {}}
    assert wire.pack(body).hex() == "87a162c3a169ffa16c9201cd012ca16d80a16ec0a174a2c3a9a178c40100"


@pytest.mark.parametrize(
    "body",
    [
        {"a": 1.0},
        {"a": 2**63},
        {"a": -(2**63) - 1},
        {1: 2},
        {b"a": 1},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": {1, 2}},
        {"a": msgpack.ExtType(1, b"")},
        {"a": bytearray(1)},
        nested(wire.MAX_DEPTH + 1),
        [1],
    ],
    ids=repr,
)
def test_what_no_body_may_hold_is_not_sent(body: dict[str, Any]) -> None:
    with pytest.raises(ClusterError):
        wire.pack(body)


def test_a_body_at_the_limits_is_sent() -> None:
    body = {"deep": nested(wire.MAX_DEPTH - 1), "low": -(2**63), "high": 2**63 - 1}
    assert wire.unpack(wire.pack(body)) == body


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("keys out of order", b"\x82\xa1b\x01\xa1a\x01"),
        ("a doubled key", b"\x82\xa1a\x01\xa1a\x01"),
        ("a long integer", b"\x81\xa1a\xcd\x00\x01"),
        ("a long text", b"\x81\xd9\x01a\x01"),
        ("a long map", b"\xde\x00\x01\xa1a\x01"),
        ("a long list", b"\x81\xa1a\xdc\x00\x01\x01"),
        ("an unsigned integer of 64 bits", b"\x81\xa1a\xcf" + b"\xff" * 8),
        ("a float", b"\x81\xa1a\xca\x00\x00\x00\x00"),
        ("a timestamp", b"\x81\xa1a\xd6\xff\x00\x00\x00\x00"),
        ("another extension", b"\x81\xa1a\xd4\x01\x00"),
        ("a key of bytes", b"\x81\xc4\x01a\x01"),
        ("a key that is a number", b"\x81\x01\x01"),
        ("text that is not UTF-8", b"\x81\xa1a\xa1\xff"),
        ("the reserved byte", b"\x81\xa1a\xc1"),
        ("something after the end", b"\x80\x80"),
        ("an early end", b"\x81\xa1a"),
        ("nothing", b""),
        ("no map", b"\x90"),
        ("nested too deep", b"\x81\xa1a" * 8 + b"\x80"),
        ("nested out of all bounds", b"\x91" * 60000),
        ("lists that promise too much", b"\xdd\x00\x00\xff\x00" * 10000),
        ("a map that promises too much", b"\xdf\xff\xff\xff\xff"),
    ],
)
def test_a_body_in_another_encoding_is_refused(what: str, data: bytes) -> None:
    with pytest.raises(ClusterError, match="message"):
        wire.unpack(data)


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    data = wire.pack({"a": b"x" * 100})
    assert wire.unpack(data, len(data))
    with pytest.raises(ClusterError, match="longer than"):
        wire.unpack(data, len(data) - 1)


@given(st.binary(max_size=64))
def test_only_one_encoding_of_a_body_is_taken(data: bytes) -> None:
    try:
        body = wire.unpack(data)
    except ClusterError:
        return
    assert wire.pack(body) == data


@given(bodies.filter(lambda body: depth(body) <= 7), st.data())
def test_a_changed_encoding_is_refused_or_says_something_else(
    body: dict[str, Any], data: st.DataObject
) -> None:
    packed = bytearray(wire.pack({**body, "x": 0}))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(ClusterError):
        assert wire.pack(wire.unpack(bytes(packed))) == bytes(packed)


def test_an_envelope_says_who_signed_it() -> None:
    assert wire.open(wire.seal(SEED, CONTEXT, {"a": 1}), CONTEXT) == (NODE.node_id, {"a": 1})


def test_an_envelope_is_a_plain_signature_of_the_context() -> None:
    sealed = wire.seal(SEED, CONTEXT, {"a": 1})
    assert sealed == NODE.public_key + sign(SEED, CONTEXT, wire.pack({"a": 1})).signature + wire.pack(
        {"a": 1}
    )


def test_an_envelope_for_another_purpose_is_refused() -> None:
    with pytest.raises(ClusterError, match="signature"):
        wire.open(wire.seal(SEED, CONTEXT, {}), "cluster/other")


@given(st.data())
def test_a_changed_envelope_is_refused(data: st.DataObject) -> None:
    sealed = bytearray(wire.seal(SEED, CONTEXT, {"a": b"abc"}))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ClusterError):
        wire.open(bytes(sealed), CONTEXT)


@given(st.integers(0, 200))
def test_a_cut_envelope_is_refused(length: int) -> None:
    sealed = wire.seal(SEED, CONTEXT, {"a": b"x" * 100})
    with pytest.raises(ClusterError):
        wire.open(sealed[:length], CONTEXT)


def test_a_key_that_anybody_can_sign_for_is_refused() -> None:
    for key in (bytes(32), b"\x01" + bytes(31), b"\xff" * 32):
        with pytest.raises(ClusterError, match="Ed25519"):
            wire.open(key + bytes(64) + b"\x80", CONTEXT)


def test_a_signed_body_that_is_not_canonical_is_refused() -> None:
    message = b"\x82\xa1b\x01\xa1a\x01"
    with pytest.raises(ClusterError, match="canonical"):
        wire.open(NODE.public_key + sign(SEED, CONTEXT, message).signature + message, CONTEXT)


def test_an_envelope_over_the_limit_is_refused() -> None:
    sealed = wire.seal(SEED, CONTEXT, {"a": b"x" * wire.MAX_BLOB})
    with pytest.raises(ClusterError, match="65536 bytes"):
        wire.open(sealed, CONTEXT)


@given(st.binary(max_size=200))
def test_garbage_is_never_an_envelope(data: bytes) -> None:
    with pytest.raises(ClusterError):
        wire.open(data, CONTEXT)


def test_fields_are_read_with_their_types() -> None:
    fields = Fields(
        {
            "flag": False,
            "number": 7,
            "text": "word",
            "raw": b"\x01\x02",
            "node": NODE.public_key,
            "texts": ["a", "b"],
            "many": [b"1", b"2"],
            "nodes": [NODE.public_key],
            "map": {"x": 1},
            "maps": [{"x": 1}],
            "word": "yes",
            "none": None,
        },
        "a test",
    )
    assert fields.boolean("flag") is False
    assert fields.integer("number", 7, 7) == 7
    assert fields.text("text", max=4) == "word"
    assert fields.bytes("raw", exactly=2) == b"\x01\x02"
    assert fields.hexadecimal("raw", exactly=2) == "0102"
    assert fields.node("node") == NODE.node_id
    assert fields.texts("texts", most=2, max=1) == ("a", "b")
    assert fields.many_bytes("many", most=2, exactly=1) == (b"1", b"2")
    assert fields.nodes("nodes", most=1) == (NODE.node_id,)
    assert fields.map("map").integer("x", 0, 1) == 1
    assert fields.maps("maps", most=1)[0].integer("x", 0, 1) == 1
    assert fields.choice("word", ("yes", "no")) == "yes"
    assert fields.nil("none") and not fields.nil("word")
    fields.done()


@pytest.mark.parametrize(
    ("value", "read", "why"),
    [
        (0, lambda f: f.boolean("x"), "must be a boolean"),
        (True, lambda f: f.integer("x", 0, 1), "must be an integer"),
        (2, lambda f: f.integer("x", 0, 1), "must be 0 to 1"),
        (-1, lambda f: f.integer("x", 0, 1), "must be 0 to 1"),
        (b"a", lambda f: f.text("x", max=1), "must be text"),
        ("", lambda f: f.text("x", max=1), "must have 1 to 1 characters"),
        ("ab", lambda f: f.text("x", max=1), "must have 1 to 1 characters"),
        ("\x1b[2J", lambda f: f.text("x", max=9), "cannot be printed"),
        ("maybe", lambda f: f.choice("x", ("yes", "no")), "must be one of: yes, no"),
        ("a", lambda f: f.bytes("x", max=1), "must be bytes"),
        (b"", lambda f: f.bytes("x", exactly=1), "must have 1 bytes"),
        (b"ab", lambda f: f.bytes("x", max=1), "more than 1 bytes"),
        (bytes(32), lambda f: f.node("x"), "public key"),
        (b"", lambda f: f.node("x"), "public key"),
        ("ab", lambda f: f.texts("x", most=2, max=1), "must be a list"),
        ([1], lambda f: f.texts("x", most=2, max=1), "must be texts"),
        (["a\n"], lambda f: f.texts("x", most=2, max=2), "cannot be printed"),
        (["a", "b"], lambda f: f.texts("x", most=1, max=1), "more than 1 entries"),
        ([b"ab"], lambda f: f.many_bytes("x", most=1, max=1), "more than 1 bytes"),
        (["a"], lambda f: f.nodes("x", most=1), "must be bytes"),
        ([], lambda f: f.map("x"), "must be a map"),
        ([1], lambda f: f.maps("x", most=1), "must be maps"),
        ({"y": 1}, lambda f: f.map("x").integer("y", 2, 3), "a test: x: field 'y' must be 2 to 3"),
        ([{"y": 1}], lambda f: f.maps("x", most=1)[0].integer("y", 2, 3), r"x\[0\]: field 'y'"),
        (None, lambda f: f.integer("z", 0, 1), "no field 'z'"),
        (None, lambda f: f.done(), "unknown field 'x'"),
    ],
)
def test_a_field_out_of_bounds_is_named(value: object, read: Callable[[Fields], object], why: str) -> None:
    with pytest.raises(ClusterError, match=why) as error:
        read(Fields({"x": value}, "a test"))
    assert error.value.message.startswith("a test: ")
