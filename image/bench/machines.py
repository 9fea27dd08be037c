# SPDX-License-Identifier: Apache-2.0
"""Machines that a bench starts for itself, and a cluster that they may form."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.membership.credential import encode
from harness.group import Group
from harness.model import Boot, NodeSpec
from image.cluster import bundle as bundles
from image.cluster.issue import issue
from image.cluster.plan_file import check_options
from image.toolstree import ToolsTree


def make_credential(folder: Path, size: int) -> bytes:
    """Return the join credential of a new cluster for `size` machines, whose bundle is below `folder`."""
    values = {
        "name": "bench",
        "machines": size,
        "voters": size,
        "policy": "auto",
        "allowlist": [],
        "ipv4_range": "10.86.0.0/16",
        "seeds": [],
        "srv": None,
    }
    return encode(issue(bundles.create(folder / "clusters", check_options(values))))


@contextmanager
def hold_group(
    tools: ToolsTree, image: Path, folder: Path, name: str, say: Callable[[str], None]
) -> Iterator[Group]:
    """Make a group whose machines start from `image`; leave nothing of them behind."""
    group = Group(tools, folder / "machines", name, say=say)
    try:
        group.create(image)
        # Whatever the first start of a group does beside is done before.
        _ = group.acceleration
        group.namespace.open()
        yield group
    finally:
        group.down(purge=True)


def start_machines(group: Group, boot: Boot, *, size: int, memory: int | None = None) -> None:
    """Start node1 and so on, on fresh disks, with one processor each."""
    for number in range(1, size + 1):
        name = f"node{number}"
        spec = NodeSpec(name, cpus=1) if memory is None else NodeSpec(name, cpus=1, memory=memory)
        group.start(group.add(spec), boot)
