# SPDX-License-Identifier: Apache-2.0
"""Fixtures that more than one test file uses."""

import os
from pathlib import Path

import pytest

from image.toolstree import ToolsTree


@pytest.fixture(scope="session")
def tools() -> ToolsTree:
    """The tools tree; `./build.py test` and `check` prepare it and name it in the environment."""
    try:
        return ToolsTree(Path(os.environ["CLUSTEROS_TOOLS"]), Path(os.environ["CLUSTEROS_SANDBOX"]))
    except KeyError:
        pytest.fail("no tools tree: run the tests by ./build.py check or ./build.py test")
