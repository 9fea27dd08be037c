# SPDX-License-Identifier: Apache-2.0
"""The names that members have for each other, and for roles, in /etc/hosts."""

from pathlib import Path

from agent.facts import read_facts
from agent.roles.order import Holder, Host, Order
from agent.roles.render import render
from agent.roles.role_file import read_role
from agent.tree import Tree

NAMES = Path(__file__).parents[1] / "overlays/base/usr/lib/cluster-os/roles/names"
FIRST = Host(
    "3jziSxiYaDg5UQvdWtkXbHKw1pVovCSTdFy4roQm7FQN", "n-3jzisxiyad", "10.86.0.1", "fd00::1", voter=True
)
SECOND = Host(
    "4kAjTyjZbEh6VRweXulYcJLx2qWpwDTUeGz5spRn8GRP", "n-4kajtyjzbe", "10.86.0.2", "fd00::2", voter=True
)


def test_who_has_a_role_speaks_to_it_from_its_own_address(tmp_path: Path) -> None:
    holders = (
        Holder("queue", SECOND.hostname, SECOND.node_id, "fd00::77", 4),
        Holder("hub", FIRST.hostname, FIRST.node_id, "fd00::78", 1),
        Holder("coordinator", FIRST.hostname, FIRST.node_id, "fd00::79", 1),
    )
    order = Order("lab", "10.86.0.0/16", "fd00::/64", FIRST, (FIRST, SECOND), holders, (), ())
    (content,) = render(read_role(NAMES), order, read_facts(Tree(str(tmp_path))), 0, str).values()
    lines = content.decode().splitlines()[3:]
    assert lines == [
        "10.86.0.1 n-3jzisxiyad",
        "fd00::1 n-3jzisxiyad",
        "10.86.0.2 n-4kajtyjzbe",
        "fd00::2 n-4kajtyjzbe",
        "fd00::77 queue",
        "fd00::77 queue-near",
        "fd00::78 hub",
        "fd00::1 hub-near",
    ]
