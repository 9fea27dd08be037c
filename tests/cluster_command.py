# SPDX-License-Identifier: Apache-2.0
"""`./build.py cluster` as a user of a made-up checkout runs it."""

import argparse
import stat
from pathlib import Path

import pytest

from agent.cluster import Credential
from agent.errors import ClusterError
from agent.membership.credential import NAME, decode
from image.cluster import arguments
from image.cluster.commands import run
from image.toolstree import ToolsTree


def cluster(project: Path, *argv: str, tools: ToolsTree | None = None) -> int:
    """Run `./build.py cluster ARGV` with `project` as the checkout."""
    parser = argparse.ArgumentParser()
    arguments.register(parser.add_subparsers())

    def give_tools() -> ToolsTree:
        assert tools is not None
        return tools

    return run(parser.parse_args(["cluster", *argv]), project, give_tools)


def refuse(project: Path, *argv: str) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        cluster(project, *argv)
    assert caught.value.hint
    return caught.value


def credential_of(project: Path, name: str = "lab", file: str = NAME) -> Credential:
    path = project / "clusters" / name / file
    return decode(path.read_bytes(), str(path))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
