# SPDX-License-Identifier: Apache-2.0
"""The unit of the console is what systemd understands, and opens no more than a screen needs."""

import subprocess
from pathlib import Path

from image.toolstree import ToolsTree
from tests.exposure import measure_exposure

UNIT = Path(__file__).resolve().parent.parent / "units/cluster/clusteros-console.service"
HIGHEST_EXPOSURE = 1.0


def test_the_exposure_of_the_console_is_low(tools: ToolsTree) -> None:
    assert measure_exposure(tools, UNIT) <= HIGHEST_EXPOSURE


def test_systemd_understands_every_line_of_the_console(tools: ToolsTree, tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/usr/bin/node-agent console", "/usr/bin/true")
    # What it is ordered after is in the image, not in the tools tree.
    for name in ("getty@tty1.service", "clusteros-firstboot.service"):
        (tmp_path / name).write_text("[Service]\nExecStart=/usr/bin/true\n")
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    argv = tools.command(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_console_takes_the_place_of_the_login_prompt_of_its_terminal() -> None:
    lines = UNIT.read_text().splitlines()
    assert {
        "ConditionPathExists=/dev/tty1",
        "Conflicts=getty@tty1.service",
        "After=getty@tty1.service clusteros-firstboot.service",
        "TTYPath=/dev/tty1",
        "ExecStart=/usr/bin/node-agent console",
    } <= set(lines)
