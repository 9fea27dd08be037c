# SPDX-License-Identifier: Apache-2.0
"""Fixtures that more than one test file uses."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from image.toolstree import ToolsTree

# How long one example takes says more about the machine than about the code.
settings.register_profile("whole", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=20)
settings.load_profile("whole")


@pytest.fixture(scope="session")
def tools() -> ToolsTree:
    """The tools tree; `./build.py test` and `check` prepare it and name it in the environment."""
    try:
        return ToolsTree(Path(os.environ["CLUSTEROS_TOOLS"]), Path(os.environ["CLUSTEROS_SANDBOX"]))
    except KeyError:
        pytest.fail("no tools tree: run the tests by ./build.py check or ./build.py test")
