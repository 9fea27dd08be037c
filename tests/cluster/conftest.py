# SPDX-License-Identifier: Apache-2.0
"""Machines in network namespaces, for one test or for all of a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from image.toolstree import ToolsTree
from tests.cluster.machines import Machines


@pytest.fixture
def machines(tmp_path: Path, tools: ToolsTree) -> Iterator[Machines]:
    """A heap of machines for one test."""
    heap = Machines(tmp_path, tools)
    try:
        yield heap
    finally:
        heap.end()


@pytest.fixture(scope="module")
def heap(tmp_path_factory: pytest.TempPathFactory, tools: ToolsTree) -> Iterator[Machines]:
    """A heap of machines that the tests of a file share, one after the other."""
    found = Machines(tmp_path_factory.mktemp("heap"), tools)
    try:
        yield found
    finally:
        found.end()
