# SPDX-License-Identifier: Apache-2.0
"""The console shows what a person in front of the machine needs, on any terminal and in any state."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cluster import Phase
from agent.status.addresses import read_addresses
from agent.status.document import NodeStatus
from agent.status.screen import STYLES, View, paint, render
from agent.tree import Tree
from tests.example_status import CLONE, HOSTNAMES, NODES, any_status, make_member, make_status
from tests.machine import write

ISSUE = ("node ID     7Kq", "fingerprint SHA256:abc", "host name   n-7kq")


def view(status: NodeStatus | None, age: float = 0.5, addresses: tuple[str, ...] = ("192.0.2.7",)) -> View:
    return View(status, age, ISSUE, addresses, "1.2")


def shown(status: NodeStatus | None, age: float = 0.5, width: int = 80, height: int = 25) -> str:
    return "\n".join(line.text for line in render(view(status, age), width, height))


def test_a_member_shows_identity_addresses_cluster_role_and_members() -> None:
    text = shown(make_status())
    for word in (
        "Cluster-OS 1.2",
        NODES[0],
        make_status().fingerprint,
        HOSTNAMES[0],
        "192.0.2.7",
        "10.77.0.1",
        "fd00::1",
        "lab, genesis 3f3f3f3f3f3f, policy auto",
        f"follower, leader {HOSTNAMES[1]}, term 3",
        "4 of 4 peers connected",
        "5 (5 alive), 3 of them vote",
        "no change: member of 5, voter",
        "Alt+F2: log in",
        *HOSTNAMES[:5],
    ):
        assert word in text
    assert "problem" not in text


def test_a_pending_node_shows_its_fingerprint_alone_and_marked() -> None:
    status = make_status(phase=Phase.PENDING, members=(), mesh=None)
    lines = render(view(status))
    marked = [line.text.strip() for line in lines if line.style == "strong"]
    assert status.fingerprint in marked
    assert f"node-agent approve {NODES[0]}" in " ".join(" ".join(line.text for line in lines).split())


def test_a_machine_without_credential_says_what_it_needs() -> None:
    status = NodeStatus(NODES[0], "SHA256:x", "n-x", Phase.WAITING, "no join credential: waiting", 5.0)
    text = shown(status)
    assert "this machine has no join credential" in text
    assert "node-agent join FILE" in text


def test_errors_and_clones_stand_out() -> None:
    lines = render(view(make_status(error="cannot write: no space left", clones=(CLONE,))))
    bad = " ".join(line.text for line in lines if line.style == "bad")
    assert "last error: cannot write: no space left" in bad
    assert CLONE.address in bad


def test_without_an_agent_the_console_shows_who_the_machine_is_and_where() -> None:
    text = shown(None)
    assert "the agent of this node is not running" in text
    assert "SHA256:abc" in text
    assert "192.0.2.7" in text


def test_without_a_network_the_console_says_so() -> None:
    lines = render(view(make_status(addresses=()), addresses=()))
    assert any("none: no network yet" in line.text for line in lines)


def test_an_agent_that_gives_no_sign_is_told() -> None:
    assert "no sign of it for 20 s: what follows is the last known state" in shown(make_status(), age=45.0)
    assert "no sign of it for 3m or more" in shown(make_status(), age=199.0)
    assert "no sign" not in shown(make_status(), age=5.0)


def test_nothing_moves_while_nothing_happens() -> None:
    before = make_status()
    members = tuple(replace(member, state_age=5000.0) for member in before.members)
    after = make_status(
        members=members,
        published=1003.0,
        tick=replace(before.tick, count=99),
        raft=replace(before.raft, commit_index=99),
    )
    assert paint(render(view(before, 0.1))) == paint(render(view(after, 0.9)))


def test_many_members_are_counted_and_the_dead_ones_shown_first() -> None:
    dead = replace(make_member(4), state="dead", hostname="n-zzzzzzzzzz")
    status = make_status(members=(*(make_member(n % 4) for n in range(99)), dead))
    lines = [line.text for line in render(view(status))]
    first = next(number for number, line in enumerate(lines) if "HOST NAME" in line) + 1
    assert "n-zzzzzzzzzz" in lines[first]
    assert any("more: node-agent members" in line for line in lines)


def test_what_does_not_fit_is_announced() -> None:
    status = make_status(warnings=tuple(f"warning {number} " + "x" * 70 for number in range(30)))
    text = shown(status)
    assert "lines more: node-agent status" in text
    assert "Alt+F2: log in" in text


@given(
    st.none() | any_status(), st.floats(0, 1e6), st.integers(1, 240), st.integers(1, 80), st.text(max_size=30)
)
def test_any_status_fits_any_terminal_in_characters_that_it_has(
    status: NodeStatus | None, age: float, width: int, height: int, text: str
) -> None:
    lines = render(View(status, age, (text,), (text,), text), width, height)
    assert len(lines) == max(height, 4)
    for line in lines:
        assert len(line.text) <= max(width, 20)
        assert line.style in STYLES
        assert all(" " <= letter <= "~" or letter == "─" for letter in line.text)


def test_painting_covers_what_was_there() -> None:
    painted = paint(render(view(make_status())))
    assert painted.startswith("\x1b[H")
    assert painted.count("\x1b[K") == 25
    assert painted.endswith("\x1b[J")
    assert painted.count("\r\n") == 24


TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
Local:
  +-- 127.0.0.0/8 2 0 2
     |-- 127.0.0.1
        /32 host LOCAL
  +-- 192.0.2.0/24 2 0 1
     |-- 192.0.2.0
        /24 link UNICAST
     |-- 192.0.2.7
        /32 host LOCAL
     |-- 192.0.2.255
        /32 link BROADCAST
"""
LINK_LOCAL = "fe800000000000000000000000000007 02 40 20 80     eth0\n"
LOOPBACK = "00000000000000000000000000000001 01 80 10 80       lo\n"
GLOBAL = "20010db8000000000000000000000007 02 40 00 00     eth0\n"


@pytest.mark.parametrize(
    ("files", "addresses"),
    [
        ({}, ()),
        ({"fib_trie": TRIE}, ("192.0.2.7",)),
        ({"fib_trie": TRIE, "if_inet6": LOOPBACK + LINK_LOCAL}, ("192.0.2.7",)),
        ({"if_inet6": LOOPBACK + LINK_LOCAL}, ("fe80::7",)),
        ({"fib_trie": TRIE, "if_inet6": LINK_LOCAL + GLOBAL}, ("192.0.2.7", "2001:db8::7")),
    ],
)
def test_addresses_come_from_the_kernels_tables(
    tmp_path: Path, files: dict[str, str], addresses: tuple[str, ...]
) -> None:
    write(tmp_path, {f"proc/self/net/{name}": content for name, content in files.items()})
    assert read_addresses(Tree(str(tmp_path))) == addresses
