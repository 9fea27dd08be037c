# SPDX-License-Identifier: Apache-2.0
"""What pip installs is pinned by version and hash, and comes from wherever the machine's own pip takes it."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "image/python"
PIN = re.compile(
    r"([a-z0-9][a-z0-9.-]*)==[^\s;]+( ; [^\\]+)? (\\\n    --hash=sha256:[0-9a-f]{64} ?)+(\n    # .*)*"
)


@pytest.mark.parametrize("name", ["browser", "builder", "node"])
def test_requirements_are_pins_with_hashes_and_nothing_else(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text()
    rest = PIN.sub("", text).split("\n")
    assert [line for line in rest if line and not line.startswith("#")] == []


@pytest.mark.parametrize("name", ["browser", "builder", "node"])
def test_everything_that_is_asked_for_is_pinned(name: str) -> None:
    asked = re.findall(
        r"^([a-z0-9.-]+)(?:\[.*\])?==(\S+)$", (FOLDER / f"{name}.in").read_text(), re.MULTILINE
    )
    pinned = re.findall(
        r"^([a-z0-9.-]+)(?:\[.*\])?==(\S+)", (FOLDER / f"{name}.txt").read_text(), re.MULTILINE
    )
    assert asked
    assert {(asked_name.replace(".", "-"), version) for asked_name, version in asked} <= {
        (pinned_name.replace(".", "-"), version) for pinned_name, version in pinned
    }
