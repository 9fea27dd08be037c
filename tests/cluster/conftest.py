# SPDX-License-Identifier: Apache-2.0
"""Machines in network namespaces, for one test or for all of a file; replicas of Raft on loopback."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from image.toolstree import ToolsTree
from tests.cluster.machines import Machines
from tests.cluster.raft_cluster import Begin, Cluster


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


@pytest.fixture
def port() -> int:
    """A port that nobody has at the moment, also for the addresses beside 127.0.0.1."""
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def begin(tmp_path: Path, port: int) -> Iterator[Begin]:
    """Begins a cluster of replicas: the number of its founders, and settings of each."""
    begun: list[Cluster] = []

    def make(founders: int, **settings: object) -> Cluster:
        cluster = Cluster(tmp_path, port, founders, **settings)
        begun.append(cluster)
        return cluster

    yield make
    for cluster in begun:
        cluster.end()
