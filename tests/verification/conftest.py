# SPDX-License-Identifier: Apache-2.0
"""The artefacts that all tests of verification look at."""

from pathlib import Path

import pytest

from image.toolstree import ToolsTree
from tests.verification.tiny_image import TinyImage, make_tiny_image


@pytest.fixture(scope="session")
def intact(tools: ToolsTree, tmp_path_factory: pytest.TempPathFactory) -> TinyImage:
    """A set of artefacts that nobody may change."""
    return make_tiny_image(tmp_path_factory.mktemp("tiny"), tools)


@pytest.fixture
def image(intact: TinyImage, tmp_path: Path) -> TinyImage:
    """A copy of it to be spoilt."""
    return intact.copy(tmp_path / "artefacts")
