# SPDX-License-Identifier: Apache-2.0
"""A browser for tests of pages; `./build.py test` prepares it."""

import os
from pathlib import Path

import pytest

from tests.cluster.conftest import heap

__all__ = ["heap"]


@pytest.fixture(scope="session")
def browser_tree() -> Path:
    """The browser tree."""
    try:
        return Path(os.environ["CLUSTEROS_BROWSER"])
    except KeyError:
        pytest.fail("no browser tree: run the tests by ./build.py test")


@pytest.fixture(scope="session")
def sandbox() -> Path:
    """mkosi's sandbox program."""
    return Path(os.environ["CLUSTEROS_SANDBOX"])
