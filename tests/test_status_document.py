# SPDX-License-Identifier: Apache-2.0
"""The status document survives the way through JSON, and nothing else passes for one."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from agent.status import document, published
from agent.status.document import NodeStatus
from tests.example_status import GENESIS, NODES, any_status, make_member, make_status

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    max_leaves=10,
)


def places(content: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in a document."""
    found = [here]
    if isinstance(content, dict):
        found += [place for key, item in content.items() for place in places(item, (*here, key))]
    if isinstance(content, list):
        found += [place for key, item in enumerate(content) for place in places(item, (*here, key))]
    return found


GOOD = make_status().to_dict()
PLACES = places(GOOD)


def test_a_document_comes_back_as_it_was() -> None:
    status = make_status()
    assert document.decode(document.encode(status), "here") == status


@given(any_status())
def test_whatever_is_published_can_be_read_and_printed(status: NodeStatus) -> None:
    back = document.decode(document.encode(status), "here")
    assert back.node_id == status.node_id
    assert back.members == tuple(
        replace(member, hostname=there.hostname, ipv4=there.ipv4, ipv6=there.ipv6)
        for member, there in zip(status.members, back.members, strict=True)
    )
    assert all(
        text.isprintable() for text in (back.hostname, back.sentence, back.error or "", *back.warnings)
    )
    assert document.decode(document.encode(back), "here") == back


@given(st.sampled_from(PLACES), JSON)
def test_a_damaged_document_is_refused_or_means_what_it_says(place: tuple[Any, ...], value: object) -> None:
    content: Any = deepcopy(GOOD)
    if not place:
        content = value
    else:
        inner: Any = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
    try:
        status = NodeStatus.from_dict(content)
    except ClusterError as error:
        assert error.message.isprintable()
    else:
        assert status.to_dict() == content


@given(st.binary() | JSON.map(lambda content: json.dumps(content).encode()))
def test_garbage_is_no_document(data: bytes) -> None:
    with pytest.raises(ClusterError):
        document.decode(data, "here")


@given(st.integers(0, len(document.encode(make_status())) - 2))
def test_a_truncated_document_is_none(length: int) -> None:
    with pytest.raises(ClusterError):
        document.decode(document.encode(make_status())[:length], "here")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("node_id",), "0OIl", "status.node_id: has not the form"),
        (("phase",), "m", "status.phase: must be one of waiting, forming"),
        (("hostname",), "n-\x1b[2J", "status.hostname: must be at most 4096 characters that can be printed"),
        (("members", 3, "state"), "asleep", "status.members[3].state: must be one of alive, dead, unknown"),
        (("members", 3, "voter"), 1, "status.members[3].voter: must be of type bool"),
        (("raft", "term"), True, "status.raft.term: must be of type int"),
        (("raft", "term"), 1 << 80, "status.raft.term: is out of range"),
        (("mesh", "port"), 65536, "status.mesh.port: must be from 0 to 65535"),
        (("mesh", "peers", 0, "received"), -1, "status.mesh.peers[0].received: must be from 0"),
        (("tick", "p95"), float("nan"), "status.tick.p95: must be a number"),
        (("secrets",), {"gossip": "1"}, "status.secrets.gossip: must be of type int"),
        (("members",), "x" * 9, "status.members: must be a list"),
        (("cluster",), {}, "status.cluster: missing or unknown keys: cluster_id, generation, genesis"),
        (("version",), 2, "status has another version than 1"),
        (("version",), True, "status is not a status document"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(place: tuple[Any, ...], value: object, message: str) -> None:
    content = deepcopy(GOOD)
    inner: Any = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ClusterError) as caught:
        NodeStatus.from_dict(content)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_a_document_of_thousands_of_members_fits() -> None:
    status = make_status(members=tuple(make_member(n % 5) for n in range(5000)))
    assert len(document.encode(status)) < document.MAX_BYTES
    with pytest.raises(ClusterError, match="is not a status document"):
        document.decode(b" " * document.MAX_BYTES + document.encode(status), "here")


def test_a_published_document_is_open_to_all_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    assert published.read(path) is None
    published.write(path, make_status())
    assert path.stat().st_mode & 0o777 == 0o644
    assert published.read(path) == make_status()
    path.write_bytes(b"{}")
    with pytest.raises(ClusterError, match=r"status\.json is not a status document"):
        published.read(path)
    with pytest.raises(ClusterError, match="cannot read"):
        published.read(tmp_path)


def test_no_secret_has_a_place_in_the_document() -> None:
    text = document.encode(make_status()).decode()
    assert '"secrets": {"gossip": 2, "raft": 1}' in text
    assert GENESIS in text
    assert NODES[0] in text
