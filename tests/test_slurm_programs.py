# SPDX-License-Identifier: Apache-2.0
"""The programs that the image adds to SLURM."""

import os
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from image.toolstree import ToolsTree

FOLDER = Path(__file__).parents[1] / "overlays/slurm/usr/lib/cluster-os/slurm"
PR_SET_NAME = 15


@pytest.fixture
def report_ends() -> ModuleType:
    """The program, as a module."""
    loader = SourceFileLoader("report_ends", str(FOLDER / "report-ends"))
    module = module_from_spec(spec_from_loader("report_ends", loader))  # type: ignore[arg-type]
    loader.exec_module(module)
    return module


def test_notes_of_ended_jobs_are_read_and_old_ones_are_not(tmp_path: Path, report_ends: ModuleType) -> None:
    for name, content, age in (("17.0", "256\n", 5), ("9.2", "0\n", 5), ("3.0", "0\n", 5000)):
        (tmp_path / name).write_text(content)
        os.utime(tmp_path / name, (10_000 - age, 10_000 - age))
    (tmp_path / "17.0.new").write_text("")
    (tmp_path / "../x").mkdir(exist_ok=True)
    assert sorted(report_ends.read_notes(tmp_path, 10_000.0)) == [(9, 2, 0), (17, 0, 256)]


@pytest.mark.parametrize(
    ("job", "wrong"),
    [
        ({"JobState": "RUNNING", "BatchHost": "n-me", "Restarts": "1"}, True),
        # The lost controller had not saved either that it had been begun here.
        ({"JobState": "CONFIGURING", "BatchHost": "n-me", "Restarts": "1"}, True),
        # It was begun again since, here or elsewhere, or the controller knows.
        ({"JobState": "RUNNING", "BatchHost": "n-me", "Restarts": "2"}, False),
        ({"JobState": "RUNNING", "BatchHost": "n-other", "Restarts": "1"}, False),
        ({"JobState": "COMPLETED", "BatchHost": "n-me", "Restarts": "1"}, False),
        ({"JobState": "PENDING", "Restarts": "1"}, False),
        ({}, False),
    ],
)
def test_only_a_run_that_is_believed_to_go_on_here_is_reported(
    report_ends: ModuleType, job: dict[str, str], wrong: bool
) -> None:
    assert report_ends.is_wrong(job, 1, "n-me") is wrong


def test_the_thread_that_saves_waits_for_a_second_and_no_other_is_deceived(
    tmp_path: Path, tools: ToolsTree
) -> None:
    library, saving = tmp_path / "prompt-saves.so", tmp_path / "saving"
    argv = tools.command(["tcc", "-shared", "-nostdlib", "-Wall", "-Werror", "-o", library])
    argv.append(f'-DSAVING="{saving}"')
    subprocess.run([*argv, str(FOLDER / "prompt-saves.c")], check=True, capture_output=True)
    code = f"""
import ctypes, pathlib, time
difftime = ctypes.CDLL({str(library)!r}).difftime
difftime.restype, difftime.argtypes = ctypes.c_double, [ctypes.c_long, ctypes.c_long]
cases = (10, 10), (11, 10), (14, 10), (15, 10), (99, 10), (10, 99)
print([difftime(*case) for case in cases], pathlib.Path({str(saving)!r}).exists())
ctypes.CDLL(None).prctl({PR_SET_NAME}, b"sstate", 0, 0, 0)
print([difftime(*case) for case in cases], pathlib.Path({str(saving)!r}).exists())
before = pathlib.Path({str(saving)!r}).stat().st_mtime_ns
time.sleep(0.02)
print(difftime(11, 10), pathlib.Path({str(saving)!r}).stat().st_mtime_ns > before)
"""
    done = subprocess.run(["python3", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[0.0, 1.0, 4.0, 5.0, 89.0, -89.0] False",
        "[0.0, 5.0, 5.0, 5.0, 89.0, -89.0] True",
        "5.0 True",
    ]
