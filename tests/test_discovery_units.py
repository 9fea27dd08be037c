# SPDX-License-Identifier: Apache-2.0
"""The units of Serf are what systemd understands, fit to what the agent writes, and open little."""

import re
import subprocess
from pathlib import Path

import pytest

from image.toolstree import ToolsTree
from tests.exposure import measure_exposure

FOLDER = Path(__file__).resolve().parent.parent / "units/cluster"
UNITS = sorted(FOLDER.glob("clusteros-serf*"))
HIGHEST_EXPOSURE = 1.5


SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_the_exposure_of_serf_and_of_its_restart_is_low(tools: ToolsTree, unit: Path) -> None:
    assert measure_exposure(tools, unit) <= HIGHEST_EXPOSURE


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line(tools: ToolsTree, unit: Path, tmp_path: Path) -> None:
    for each in UNITS:
        (tmp_path / each.name).write_bytes(each.read_bytes())
    argv = tools.command(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", tmp_path / unit.name],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_new_configuration_starts_serf_with_it() -> None:
    service, path, restart = (
        (FOLDER / f"clusteros-serf{name}").read_text() for name in (".service", ".path", "-restart.service")
    )
    config = re.search(r"^ExecStart=/usr/bin/serf agent -config-file=(\S+)$", service, re.MULTILINE)
    assert config
    assert f"ConditionPathExists={config[1]}\n" in service
    assert f"PathChanged={config[1]}\n" in path
    assert "Unit=clusteros-serf-restart.service\n" in path
    assert "restart clusteros-serf.service\n" in restart
