# SPDX-License-Identifier: Apache-2.0
"""The units of first boot are what systemd understands, and open no more than first boot needs."""

import re
import subprocess
from pathlib import Path

import pytest

from image.toolstree import ToolsTree
from tests.exposure import measure_exposure

HERE = Path(__file__).resolve().parent.parent
UNITS = sorted((HERE / "units/firstboot").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
HIGHEST_EXPOSURE = 2.5


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_the_exposure_of_each_service_is_low(tools: ToolsTree, unit: Path) -> None:
    assert measure_exposure(tools, unit) <= HIGHEST_EXPOSURE


@pytest.mark.parametrize("name", [unit.name for unit in UNITS])
def test_systemd_understands_every_line(tools: ToolsTree, name: str, tmp_path: Path) -> None:
    for unit in UNITS:
        # The program is in the image, not in the tools tree.
        text = re.sub(
            r"^ExecStart=/usr/lib/cluster-os/.*$", "ExecStart=/usr/bin/true", unit.read_text(), flags=re.M
        )
        (tmp_path / unit.name).write_text(text)
    argv = tools.command(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", tmp_path / name],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_each_service_starts_a_program_of_the_image(unit: Path) -> None:
    program = re.search(r"^ExecStart=/(\S+)$", unit.read_text(), re.MULTILINE)
    assert program
    assert (HERE / "overlays/base" / program[1]).is_file()


def test_the_units_are_enabled_by_preset() -> None:
    preset = (HERE / "overlays/base/usr/lib/systemd/system-preset/10-cluster-os.preset").read_text()
    for unit in UNITS:
        assert f"enable {unit.name}\n" in preset
