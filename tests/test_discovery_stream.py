# SPDX-License-Identifier: Apache-2.0
"""The stream of Serf's RPC is cut into records, whatever comes in whatever pieces."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.discovery.query_size import QUERY_BYTES
from agent.discovery.serf_records import (
    MembersChanged,
    MembersLogged,
    QueryAnswer,
    QueryDone,
    QueryReceived,
    SerfMember,
    UserEvent,
    read_answer,
    read_event,
    read_log,
    read_members,
    read_stats,
)
from agent.discovery.serf_stream import Record, Shape, StreamError, StreamParser

NESTED = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=12), inner, max_size=4),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        b"Members",
        b"Event",
        b"Type",
        b"ID",
        b"Log",
        b"Name",
        b"From",
        b"Payload",
        b"Addr",
        b"Port",
        b"Tags",
        b"Status",
    ]
)
BODIES = st.dictionaries(
    KEYS, NESTED | st.lists(st.dictionaries(KEYS, NESTED, max_size=4), max_size=2), max_size=4
)


def pack(*items: object) -> bytes:
    return b"".join(msgpack.packb(item) for item in items)


def header(seq: int, error: str = "") -> dict[str, object]:
    return {"Seq": seq, "Error": error}


@pytest.fixture
def parser() -> StreamParser:
    return StreamParser()


def test_an_answer_without_a_body_comes_at_once(parser: StreamParser) -> None:
    parser.expect(1, Shape.HEADER)
    assert parser.feed(pack(header(1))) == [Record(1, "", None)]


def test_an_answer_with_a_body_waits_for_it(parser: StreamParser) -> None:
    parser.expect(1, Shape.BODY)
    assert parser.feed(pack(header(1))) == []
    assert parser.feed(pack({"Num": 2})) == [Record(1, "", {b"Num": 2})]


def test_a_stream_goes_on_after_its_first_header(parser: StreamParser) -> None:
    parser.expect(1, Shape.STREAM)
    parser.expect(2, Shape.HEADER)
    data = pack(header(1), header(1), {"Event": "user"}, header(2), header(1), {"Event": "query"})
    assert [record.seq for record in parser.feed(data)] == [1, 1, 2, 1]


@pytest.mark.parametrize("body", [[], [{"Num": 0}]], ids=["without", "with"])
def test_an_error_is_told_with_or_without_a_body_after_it(parser: StreamParser, body: list[object]) -> None:
    parser.expect(1, Shape.BODY)
    parser.expect(2, Shape.HEADER)
    data = pack(header(1, "1 error occurred:\n\t* no\n\n"), *body, header(2))
    assert parser.feed(data) == [Record(1, "1 error occurred: * no", None), Record(2, "", None)]


def test_what_nobody_waits_for_any_more_is_dropped(parser: StreamParser) -> None:
    parser.expect(1, Shape.STREAM)
    parser.feed(pack(header(1)))
    parser.forget(1)
    parser.expect(2, Shape.HEADER)
    assert parser.feed(pack(header(1), {"Type": "done"}, header(2))) == [Record(2, "", None)]
    assert parser.open_streams == 0


@pytest.mark.parametrize(
    "data",
    [
        pack(1),
        pack([1]),
        pack({"Num": 1}),
        pack({"Seq": 7, "Error": 1}),
        pack({"Seq": "7", "Error": ""}),
        pack(header(7), header(7)),
        b"\xc1",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_another_protocol_ends_the_stream(parser: StreamParser, data: bytes) -> None:
    parser.expect(7, Shape.BODY)
    with pytest.raises(StreamError):
        parser.feed(data)


def test_a_body_without_end_is_not_collected_for_ever(parser: StreamParser) -> None:
    parser.feed(b"\xc6\x00\xff\xff\xff")
    with pytest.raises(StreamError):
        for _ in range(20):
            parser.feed(bytes(1 << 20))


@given(st.lists(st.booleans(), max_size=12), st.lists(st.integers(1, 9), max_size=60))
def test_the_pieces_in_which_bytes_come_do_not_matter(with_body: list[bool], sizes: list[int]) -> None:
    whole, pieces = StreamParser(), StreamParser()
    data = b""
    for seq, body in enumerate(with_body):
        for parser in (whole, pieces):
            parser.expect(seq, Shape.BODY if body else Shape.HEADER)
        data += pack(header(seq), *([{"Num": seq}] if body else []))
    expected = whole.feed(data)
    found: list[Record] = []
    for size in sizes:
        found += pieces.feed(data[:size])
        data = data[size:]
    assert found + pieces.feed(data) == expected


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_give_records_or_end_the_stream(data: bytes) -> None:
    parser = StreamParser()
    for seq, shape in enumerate(Shape):
        parser.expect(seq, shape)
    try:
        records = parser.feed(data)
    except StreamError:
        return
    assert all(isinstance(record, Record) for record in records)


@given(st.lists(st.builds(header, st.integers(0, 4), st.sampled_from(["", "no"])) | BODIES, max_size=8))
def test_no_order_of_records_confuses_the_parser(items: list[Any]) -> None:
    parser = StreamParser()
    for seq, shape in enumerate(Shape):
        parser.expect(seq, shape)
    try:
        records = parser.feed(pack(*items))
    except StreamError:
        return
    assert all(record.seq < len(Shape) for record in records)
    assert all(record.body is None for record in records if record.error)


@given(BODIES)
def test_no_body_does_anything_but_give_a_record_of_ours_or_none(body: dict[bytes, object]) -> None:
    members = read_members(body)
    assert all(member.name and member.address and 0 <= member.port < 65536 for member in members)
    for event in (read_event(body), read_answer(1, body), read_log(body)):
        if isinstance(event, QueryReceived | QueryAnswer | UserEvent):
            assert len(event.payload) <= QUERY_BYTES
    assert all(isinstance(group, str) for group in read_stats(body))


def test_members_are_read_and_what_is_none_is_left_out() -> None:
    good = {
        b"Name": b"a",
        b"Addr": b"\x7f\x00\x00\x01",
        b"Port": 7946,
        b"Status": b"alive",
        b"Tags": {b"p": b"\xff"},
    }
    mapped = {**good, b"Addr": bytes(10) + b"\xff\xff\x0a\x00\x00\x01", b"Tags": None}
    bad: list[object] = [
        {**good, b"Name": b""},
        {**good, b"Name": b"x" * 129},
        {**good, b"Addr": b"\x00"},
        {**good, b"Port": 65536},
        {**good, b"Status": b"dancing"},
        {**good, b"Tags": [1]},
        7,
    ]
    assert read_members({b"Members": [good, *bad, mapped]}) == (
        SerfMember("a", "127.0.0.1", 7946, "alive", {"p": "\ufffd"}),
        SerfMember("a", "10.0.0.1", 7946, "alive", {}),
    )


def test_events_are_told_apart() -> None:
    query = {b"Event": b"query", b"ID": 5, b"LTime": 1, b"Name": b"cos-form", b"Payload": b"x"}
    assert read_event(query) == QueryReceived(5, "cos-form", b"x")
    assert read_event({**query, b"ID": -1}) is None
    assert read_event({**query, b"Event": b"user", b"Payload": None}) == UserEvent("cos-form", b"")
    assert read_event({b"Event": b"member-failed"}) == MembersChanged("member-failed", ())
    assert read_event({b"Event": b"else"}) is None
    assert read_answer(9, {b"Type": b"done", b"From": b"", b"Payload": None}) == QueryDone(9)
    answer = {b"Type": b"response", b"From": b"n", b"Payload": b"y"}
    assert read_answer(9, answer) == QueryAnswer(9, "n", b"y")
    assert read_answer(9, {**answer, b"Payload": bytes(QUERY_BYTES + 1)}) is None


def test_lines_of_the_log_tell_of_members_or_of_nothing() -> None:
    line = b"2026/11/24 17:21:31 [INFO] serf: EventMemberFailed: n 192.0.2.1"
    assert read_log({b"Log": line}) == MembersLogged(line.decode())
    for other in (b"2026/11/24 17:21:31 [INFO] agent: joining: [x]", None, 7, [line]):
        assert read_log({b"Log": other}) is None
