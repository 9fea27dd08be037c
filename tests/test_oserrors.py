# SPDX-License-Identifier: Apache-2.0
"""What the operating system refuses is told with the place and a remedy; our own faults are not."""

import shutil
from pathlib import Path

import pytest

from image.oserrors import explain_refusal


def catch(source: Path, target: Path) -> OSError:
    """Copy `source` to `target` and return why that failed."""
    with pytest.raises(OSError) as caught:
        shutil.copyfile(source, target)
    return caught.value


def test_a_full_disk_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "artefact").write_bytes(bytes(1 << 16))
    told = explain_refusal(catch(tmp_path / "artefact", Path("/dev/full")))
    assert told is not None
    assert told.message.endswith("No space left on device")
    assert told.hint == "make room on the disk and try again"


def test_of_a_copy_the_target_is_named() -> None:
    told = explain_refusal(OSError(28, "No space left on device", "/from", None, "/to"))
    assert told is not None
    assert told.message == "/to: No space left on device"


def test_a_place_where_nothing_can_be_made_is_named(tmp_path: Path) -> None:
    told = explain_refusal(OSError(30, "Read-only file system", str(tmp_path)))
    assert told is not None
    assert told.message == f"{tmp_path}: Read-only file system"
    assert "--output DIR" in told.hint


def test_a_missing_file_is_our_own_fault_and_keeps_its_trace(tmp_path: Path) -> None:
    assert explain_refusal(catch(tmp_path / "missing", tmp_path / "target")) is None
