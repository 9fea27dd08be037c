# SPDX-License-Identifier: Apache-2.0
"""The join credential and its ticket: what goes in comes out, all faults are told at once, no secret is."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import wire
from agent.cluster import Credential, Policy, Ticket
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.membership import ticket as tickets
from agent.membership.credential import MAX_BYTES, decode, encode
from agent.membership.ticket import Judged, judge_ticket, sign_ticket, verify_ticket

OPERATOR, OTHER = b"\1" * 32, b"\2" * 32
CLUSTER = "abcdefghijklmnopqrstuvwxyz"
OPERATOR_KEY = identity_of_seed(OPERATOR).public_key
NODE, *NODES = (identity_of_seed(bytes([number]) * 32).node_id for number in (7, 8, 9))
GOOD = Credential(
    cluster_id=CLUSTER,
    name="lab",
    gossip_key=b"secretly gossiped by all of them",
    operator_key=OPERATOR_KEY,
    ticket=sign_ticket(OPERATOR, CLUSTER, b"n" * 16),
    machines=5,
    voters=5,
    policy=Policy.ALLOWLIST,
    allowlist=(NODE, *NODES, "ek:" + "0f" * 32),
    ipv4_range="10.86.0.0/16",
    seeds=("192.0.2.1", "seed.example.org:7946", "[2001:db8::1]:7946", "[2001:db8::2]"),
    srv="_cluster-os._udp.example.org",
)


def content(**changes: object) -> dict[str, Any]:
    """Return the good credential's JSON with some values changed."""
    return {**json.loads(encode(GOOD)), **changes}


def read(value: object) -> Credential:
    return decode(json.dumps(value).encode(), "FILE")


def fault(value: object) -> list[str]:
    """Return the lines that `value` is refused with."""
    with pytest.raises(ClusterError) as caught:
        read(value)
    return caught.value.message.splitlines()


def test_a_credential_survives_encoding() -> None:
    assert decode(encode(GOOD), "FILE") == GOOD
    plain = replace(GOOD, seeds=(), srv=None, policy=Policy.AUTO, allowlist=(), machines=0)
    assert decode(encode(plain), "FILE") == plain


def test_no_secret_shows_in_a_representation_or_a_message() -> None:
    shown = f"{GOOD!r} {GOOD}"
    assert "secretly" not in shown
    assert repr(GOOD.ticket.signature)[2:20] not in shown
    told = "\n".join(fault(content(gossip_key="c2VjcmV0bHk=", ticket="c2VjcmV0bHk", name="secretly!")))
    assert "c2Vjcm" not in told
    assert "secretly" not in told
    with pytest.raises(ClusterError) as caught:
        decode(b'{"gossip_key": "c2VjcmV0bHk', "FILE")
    assert "c2Vjcm" not in str(caught.value)


def test_all_errors_are_told_at_once_with_key_and_allowed_values() -> None:
    wrong = content(
        cluster_id="ABC", name="-", gossip_key="AAAA", machines=-1, voters=2, policy="all", colour="red"
    )
    del wrong["srv"]
    wrong["ticket"]["founder"] = 1
    lines = fault(wrong)
    assert lines[0] == "there are 9 errors in FILE:"
    assert [line.split(": ")[0].strip() for line in lines[1:]] == [
        "'colour'",
        "cluster_id",
        "gossip_key",
        "name",
        "machines",
        "voters",
        "policy",
        "srv",
        "ticket.founder",
    ]
    told = "\n".join(lines)
    for words in ("no such key; there are version", "1, 3 or 5", "auto, allowlist or approve", "missing"):
        assert words in told


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"version": True}, "version: must be 1"),
        ({"version": 0}, "version: must be 1"),
        ({"name": "Lab"}, "name: must be 1 to 32 characters"),
        ({"name": "l" * 33}, "name: must be"),
        ({"name": "lab-"}, "name: must be"),
        ({"name": "lab\n"}, "name: must be"),
        ({"machines": 1001}, "machines: must be the planned number of machines, 1 to 1000, or 0"),
        ({"machines": True}, "machines: must be"),
        ({"machines": 5.0}, "machines: must be"),
        ({"machines": "5"}, "machines: must be"),
        ({"voters": True, "machines": 1}, "voters: must be 1, 3 or 5"),
        ({"voters": 5, "machines": 4}, "voters: must be at most the 4 of machines; allowed: 1, 3"),
        ({"policy": None}, "policy: must be auto, allowlist or approve"),
        ({"policy": "auto"}, "allowlist: must be empty, as policy is auto"),
        ({"allowlist": []}, "allowlist: must have an entry"),
        ({"allowlist": [NODE, NODE]}, "allowlist: must be a list"),
        (
            {"allowlist": [NODE, *["ek:" + digit * 64 for digit in "012"]]},
            "allowlist: must hold node IDs of",
        ),
        ({"allowlist": NODE}, "allowlist: must be a list"),
        ({"allowlist": [NODE[:-1]]}, "allowlist: must be a list"),
        ({"allowlist": ["ek:" + "0F" * 32]}, "allowlist: must be a list"),
        ({"allowlist": [{}]}, "allowlist: must be a list"),
        ({"ipv4_range": "10.86.0.1/16"}, "ipv4_range: must be a private IPv4 network"),
        ({"ipv4_range": "8.8.8.0/24"}, "ipv4_range: must be"),
        ({"ipv4_range": "10.0.0.0/7"}, "ipv4_range: must be"),
        ({"ipv4_range": "10.0.0.0/30"}, "ipv4_range: must be"),
        ({"ipv4_range": "fd00::/64"}, "ipv4_range: must be"),
        ({"ipv4_range": "10.0.0.0/255.0.0.0"}, "ipv4_range: must be"),
        (
            {"ipv4_range": "10.0.0.0/29", "machines": 7, "policy": "auto", "allowlist": []},
            "ipv4_range: has room for 6 machines; machines is 7",
        ),
        ({"seeds": ["a b"]}, "seeds: must be a list"),
        ({"seeds": ["host:0"]}, "seeds: must be"),
        ({"seeds": ["host:65536"]}, "seeds: must be"),
        ({"seeds": ["2001:db8::1"]}, "seeds: must be"),
        ({"seeds": ["[2001:zz::1]"]}, "seeds: must be"),
        ({"seeds": ["host"] * 2}, "seeds: must be"),
        ({"seeds": [f"host{n}" for n in range(33)]}, "seeds: must be"),
        ({"srv": "a..b"}, "srv: must be a DNS name"),
        ({"srv": ""}, "srv: must be a DNS name"),
        ({"operator_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, "operator_key: must be the"),
        ({"ticket": []}, "ticket: must hold keys; there are nonce, expires, founder, signer, signature"),
        ({"ticket": None}, "ticket: must hold keys"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(changes: dict[str, object], what: str) -> None:
    lines = fault(content(**changes))
    assert lines[0] == "there is 1 error in FILE:"
    assert lines[1].startswith(f"  {what}")


def test_a_newer_version_is_told_as_such() -> None:
    assert "newer than this image" in fault(content(version=2))[0]


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"[]", b"null", b"[" * 100_000, b'{"version": 1, "version": 1}', b"{" + b" " * MAX_BYTES],
)
def test_what_is_no_credential_is_refused(data: bytes) -> None:
    with pytest.raises(ClusterError, match="FILE"):
        decode(data, "FILE")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_our_error(data: bytes) -> None:
    with pytest.raises(ClusterError):
        decode(data, "FILE")


@settings(deadline=None)
@given(st.sampled_from(sorted(content())), _JSON)
def test_any_value_under_any_key_is_read_or_refused(key: str, value: object) -> None:
    try:
        found = read(content(**{key: value}))
    except ClusterError:
        return
    assert decode(encode(found), "again") == found


@settings(deadline=None)
@given(st.sampled_from(sorted(content()["ticket"])), _JSON)
def test_any_value_in_the_ticket_is_read_or_refused(key: str, value: object) -> None:
    try:
        found = read(content(ticket={**content()["ticket"], key: value}))
    except ClusterError:
        return
    assert decode(encode(found), "again") == found


def judge(ticket: Ticket, now: float = 1000.0, *, synchronised: bool = True) -> tickets.TicketVerdict:
    return judge_ticket(ticket, CLUSTER, [OPERATOR_KEY], now, clock_synchronised=synchronised)


def test_a_ticket_without_end_is_good_whatever_the_clock_says() -> None:
    verify_ticket(GOOD.ticket)
    for now in (0.0, 2e9):
        assert judge(GOOD.ticket, now, synchronised=False).judged is Judged.GOOD


def test_a_ticket_with_an_end_is_not_judged_by_a_clock_that_is_not_synchronised() -> None:
    ticket = sign_ticket(OPERATOR, CLUSTER, b"n" * 16, expires=1000)
    verdict = judge(ticket, 5000.0, synchronised=False)
    assert verdict.judged is Judged.UNCLEAR
    assert verdict.reason.startswith("cannot judge yet")


def test_a_ticket_ends_at_its_second() -> None:
    ticket = sign_ticket(OPERATOR, CLUSTER, b"n" * 16, expires=1000)
    assert judge(ticket, 999.9).judged is Judged.GOOD
    assert judge(ticket, 1000.0).judged is Judged.BAD
    assert "has ended" in judge(ticket, 1000.0).reason


def test_a_ticket_of_another_cluster_or_key_is_bad() -> None:
    assert "another cluster" in judge(sign_ticket(OPERATOR, "b" * 26, b"n" * 16)).reason
    assert "no say" in judge(sign_ticket(OTHER, CLUSTER, b"n" * 16)).reason


@pytest.mark.parametrize(
    "change",
    [{"nonce": b"m" * 16}, {"expires": 99_999_999_999}, {"founder": True}, {"signature": b"s" * 64}],
)
def test_a_changed_ticket_is_forged(change: dict[str, Any]) -> None:
    ticket = replace(sign_ticket(OPERATOR, CLUSTER, b"n" * 16, expires=1000), **change)
    assert "forged" in judge(ticket).reason
    # Not judged by the clock first: a forged ticket is bad at once.
    assert judge(ticket, synchronised=False).judged is Judged.BAD


def test_a_ticket_survives_a_message() -> None:
    for ticket in (GOOD.ticket, sign_ticket(OTHER, CLUSTER, b"n" * 16, expires=7, founder=True)):
        body = wire.unpack(wire.pack(tickets.to_body(ticket)))
        assert tickets.of_fields(wire.Fields(body, "ticket")) == ticket


@settings(deadline=None)
@given(
    st.sampled_from(sorted(tickets.to_body(GOOD.ticket))), st.none() | st.integers() | st.binary() | st.text()
)
def test_a_damaged_ticket_in_a_message_is_refused_or_judged(key: str, value: object) -> None:
    body = {**tickets.to_body(GOOD.ticket), key: value}
    try:
        ticket = tickets.of_fields(wire.Fields(body, "ticket"))
    except ClusterError:
        return
    assert judge(ticket).judged is Judged.BAD or ticket == GOOD.ticket
