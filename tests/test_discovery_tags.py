# SPDX-License-Identifier: Apache-2.0
"""A node's tags say what it is, signed; nothing else gets a machine among the peers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cluster import Phase
from agent.discovery.clones import find_clones
from agent.discovery.roster import Roster, read_roster
from agent.discovery.serf_records import SerfMember
from agent.discovery.tags import (
    MAX_ADDRESSES,
    MAX_BYTES,
    Announcement,
    Reason,
    decode,
    encode,
    make_peer,
    measure,
    name_node,
)
from agent.errors import ClusterError
from agent.identity import identity_of_seed

SEED, OTHER_SEED = bytes(range(32)), bytes(range(1, 33))
NODE = identity_of_seed(SEED).node_id
NAME = name_node(NODE, "0123456789ab")
MEMBER = Announcement(Phase.MEMBER, "ab" * 32, 51820, ("10.0.0.7", "2001:db8::7"), voter=True)
ADDRESSES = st.ip_addresses().filter(lambda ip: not (ip.is_loopback or ip.is_multicast or ip.is_unspecified))
ANNOUNCEMENTS = st.builds(
    Announcement,
    st.sampled_from(Phase),
    st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.integers(1, 65535),
    st.lists(ADDRESSES.map(str), max_size=MAX_ADDRESSES).map(tuple),
    st.booleans(),
)


def member(tags: dict[str, str], name: str = NAME, status: str = "alive") -> SerfMember:
    return SerfMember(name, "192.0.2.1", 7946, status, tags)


@pytest.fixture(scope="module")
def tags() -> dict[str, str]:
    return encode(MEMBER, NAME, SEED)


def test_what_a_node_announces_is_what_others_read(tags: dict[str, str]) -> None:
    found = decode(member(tags))
    assert found == MEMBER
    peer = make_peer(member(tags), MEMBER, seen=3.0)
    assert (peer.node_id, peer.hardware, peer.address) == (NODE, "0123456789ab", "192.0.2.1")
    assert (peer.phase, peer.genesis, peer.voter, peer.seen) == ("m", "ab" * 32, True, 3.0)


@given(ANNOUNCEMENTS)
def test_every_announcement_comes_back_and_fits(announcement: Announcement) -> None:
    tags = encode(announcement, NAME, SEED)
    assert measure(tags) <= MAX_BYTES
    assert decode(member(tags)) == announcement


def test_the_longest_announcement_fits() -> None:
    addresses = tuple(
        f"2001:db8:1111:2222:3333:4444:5555:{n:x}" for n in range(0x1000, 0x1000 + MAX_ADDRESSES)
    )
    tags = encode(replace(MEMBER, addresses=addresses), NAME, SEED)
    assert MAX_BYTES - 50 < measure(tags) <= MAX_BYTES


@given(st.sampled_from("vpgwaos"), st.text(max_size=20) | st.none())
def test_no_tag_can_be_changed_or_removed(key: str, value: str | None) -> None:
    tags = encode(MEMBER, NAME, SEED)
    changed = {**tags, key: value} if value is not None else {k: v for k, v in tags.items() if k != key}
    if changed != tags:
        assert isinstance(decode(member(changed)), Reason)


def test_no_tag_can_be_added(tags: dict[str, str]) -> None:
    assert decode(member({**tags, "x": "y"})) is Reason.SIGNATURE


def test_the_tags_of_one_name_say_nothing_under_another(tags: dict[str, str]) -> None:
    assert decode(member(tags, name_node(NODE, "0123456789ac"))) is Reason.SIGNATURE
    other = identity_of_seed(OTHER_SEED).node_id
    assert decode(member(tags, name_node(other, "0123456789ab"))) is Reason.SIGNATURE


@pytest.mark.parametrize(
    "name", ["", "node1", NODE, f"{NODE}.xyz", f"{NODE}.0123456789AB", f"{NODE}.0123456789ab\n", f"0{NAME}"]
)
def test_a_name_that_no_node_has_is_no_peer(tags: dict[str, str], name: str) -> None:
    assert decode(member(tags, name)) is Reason.NAME


def test_a_node_id_that_is_no_key_is_no_peer(tags: dict[str, str]) -> None:
    assert decode(member(tags, name_node("1" * 32, "0123456789ab"))) is Reason.SIGNATURE


def test_another_version_is_named_as_such(tags: dict[str, str]) -> None:
    assert decode(member({**tags, "v": "2"})) is Reason.VERSION
    assert decode(member({})) is Reason.VERSION


@pytest.mark.parametrize(
    "changed",
    [
        {"wireguard_port": 0},
        {"wireguard_port": 65536},
        {"genesis": "ab"},
        {"addresses": ("127.0.0.1",)},
        {"addresses": ("224.0.0.1",)},
        {"addresses": ("0.0.0.0",)},
        {"addresses": ("2001:DB8::1",)},
        {"addresses": ("node1",)},
        {"addresses": ("10.0.0.1",) * (MAX_ADDRESSES + 1)},
    ],
)
def test_what_others_would_refuse_is_not_announced(changed: dict[str, object]) -> None:
    with pytest.raises(ClusterError):
        encode(replace(MEMBER, **changed), NAME, SEED)  # type: ignore[arg-type]


def test_a_node_cannot_announce_under_a_foreign_name() -> None:
    with pytest.raises(ValueError, match="another node"):
        encode(MEMBER, NAME, OTHER_SEED)


@given(st.text(max_size=70), st.dictionaries(st.text(max_size=3), st.text(max_size=90), max_size=9))
def test_gossip_without_a_signature_always_gives_a_reason(name: str, tags: dict[str, str]) -> None:
    for candidate in (name, NAME):
        assert isinstance(decode(member(tags, candidate)), Reason)
        assert isinstance(decode(member({**encode(MEMBER, NAME, SEED), **tags, "x": ""}, candidate)), Reason)


def test_a_roster_tells_peers_from_strangers(tags: dict[str, str]) -> None:
    gone = member({}, "gone", "failed")
    roster = read_roster([member(tags), member({}, "stranger"), gone], Roster(), 1.0)
    assert [peer.name for peer in roster.peers] == [NAME]
    assert [(s.name, s.address, s.reason) for s in roster.strangers] == [
        ("stranger", "192.0.2.1", Reason.NAME)
    ]


def test_a_peer_is_seen_since_its_last_change(tags: dict[str, str]) -> None:
    roster = Roster()
    seen = []
    for now, status in enumerate(["alive", "alive", "failed", "failed", "alive"]):
        roster = read_roster([member(tags, status=status)], roster, float(now))
        seen.append((roster.peers[0].alive, roster.peers[0].seen))
    assert seen == [(True, 0), (True, 0), (False, 2), (False, 2), (True, 4)]


def test_a_roster_keeps_nothing_of_who_is_gone(tags: dict[str, str]) -> None:
    roster = read_roster([], read_roster([member(tags)], Roster(), 1.0), 2.0)
    assert roster == Roster()


def test_two_machines_with_one_node_id_are_clones() -> None:
    names = [name_node(NODE, hardware) for hardware in ("aaaaaaaaaaaa", "bbbbbbbbbbbb")]
    peers = [make_peer(member({}, name), MEMBER, seen=0.0) for name in names]
    assert find_clones(peers[:1]) == ()
    (clone,) = find_clones(reversed(peers))
    assert (clone.node_id, clone.names) == (NODE, tuple(names))


def test_the_former_hardware_of_a_node_is_no_clone() -> None:
    now = make_peer(member({}), MEMBER, seen=0.0)
    former = make_peer(member({}, name_node(NODE, "bbbbbbbbbbbb"), "failed"), MEMBER, seen=0.0)
    assert find_clones([now, former]) == ()
