# SPDX-License-Identifier: Apache-2.0
"""The programs that the image adds to SLURM."""

import json
import os
import subprocess
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from image.toolstree import ToolsTree

FOLDER = Path(__file__).parents[1] / "overlays/slurm/usr/lib/cluster-os/slurm"
PR_SET_NAME = 15


def load(name: str) -> ModuleType:
    """A program as a module."""
    loader = SourceFileLoader(name.replace("-", "_"), str(FOLDER / name))
    module = module_from_spec(spec_from_loader(loader.name, loader))  # type: ignore[arg-type]
    loader.exec_module(module)
    return module


@pytest.fixture
def report_ends() -> ModuleType:
    return load("report-ends")


@pytest.fixture
def start_worker() -> ModuleType:
    return load("start-worker")


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


def test_a_batch_job_of_which_nothing_is_here_is_missing(tmp_path: Path, report_ends: ModuleType) -> None:
    (tmp_path / "job00094").mkdir()
    (tmp_path / "job123456").mkdir()
    listed = "94 n-me\n91 n-me\n123456 n-me\n123457 n-me\n90 n-other\n95 n/a\n"
    assert report_ends.find_missing(listed, "n-me", tmp_path) == [91, 123457]
    assert report_ends.find_missing("", "n-me", tmp_path) == []


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
print(difftime(11, 10))
times = pathlib.Path({str(saving)!r}).stat()
print(times.st_mtime_ns > before, times.st_atime_ns == before, 0 <= time.time() - times.st_mtime < 20)
"""
    done = subprocess.run(["python3", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[0.0, 1.0, 4.0, 5.0, 89.0, -89.0] False",
        "[0.0, 5.0, 5.0, 5.0, 89.0, -89.0] True",
        "5.0",
        "True True True",
    ]


def test_a_job_that_runs_already_is_no_failed_launch(tmp_path: Path, tools: ToolsTree) -> None:
    # SLURM's own functions of these names, which tell what they were given.
    slurm = """
        int errors;
        void error(const char *format, int a, int b, int c, int d, int e, int f, int g) { errors += f + g; }
        int slurm_send_rc_msg(void *message, int code) { return code; }
        int slurm_send_recv_controller_rc_msg(void *message, int *code, void *cluster)
        {
                *code = 7;
                return 9;
        }
    """
    (tmp_path / "slurm.c").write_text(slurm)
    for source in (tmp_path / "slurm.c", FOLDER / "keep-launched.c"):
        library = tmp_path / f"{source.stem}.so"
        argv = tools.command(["tcc", "-shared", "-nostdlib", "-Wall", "-Werror", "-o", library, source])
        subprocess.run(argv, check=True, capture_output=True)
    code = """
import ctypes, threading
slurmd = ctypes.CDLL(None)
def ask():
    code = ctypes.c_int(1)
    told = slurmd.slurm_send_recv_controller_rc_msg(None, ctypes.byref(code), None)
    return told, code.value, slurmd.slurm_send_rc_msg(None, 5), slurmd.slurm_send_rc_msg(None, 5)
print(ask())
slurmd.error(b"Job %u is another matter", 1, 0, 0, 0, 0, 10, 100)
print(ask())
slurmd.error(b"Job %u already running, do not launch second copy", 1, 0, 0, 0, 0, 10, 100)
other = threading.Thread(target=lambda: print(ask()))
other.start()
other.join()
print(ask(), ctypes.c_int.in_dll(slurmd, "errors").value)
"""
    done = subprocess.run(
        ["python3", "-c", code],
        env={"LD_PRELOAD": f"{tmp_path}/keep-launched.so {tmp_path}/slurm.so", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    failed = "(9, 7, 5, 5)"
    assert done.stdout.splitlines() == [failed, failed, failed, "(0, 0, 0, 5) 220"]


def test_a_worker_has_what_computes_and_nothing_else(tmp_path: Path, start_worker: ModuleType) -> None:
    drivers = {"renderD128": "amdgpu", "renderD129": "i915", "renderD130": "amdgpu", "renderD131": "nvidia"}
    for name, driver in {**drivers, "renderD132": "virtio_gpu"}.items():
        device = tmp_path / "sys/class/drm" / name / "device"
        device.mkdir(parents=True)
        (device / "driver").symlink_to(f"../../../../bus/pci/drivers/{driver}")
        (tmp_path / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
    (tmp_path / "dev/dri/by-path").mkdir(parents=True)
    for name in (*(f"dri/renderD{number}" for number in range(128, 134)), "dri/card0", "null"):
        (tmp_path / "dev" / name).touch()
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    gpus = start_worker.find_gpus(tmp_path)
    # By number, as SLURM gives them; NVIDIA's by its own devices; one whose driver is not known.
    assert start_worker.write_lines(gpus).splitlines() == [
        "Name=gpu Type=nvidia File=/dev/nvidia0 Flags=nvidia_gpu_env",
        "Name=gpu Type=nvidia File=/dev/nvidia2 Flags=nvidia_gpu_env",
        "Name=gpu Type=nvidia File=/dev/nvidia10 Flags=nvidia_gpu_env",
        "Name=gpu Type=amdgpu File=/dev/dri/renderD128 Flags=amd_gpu_env",
        "Name=gpu Type=i915 File=/dev/dri/renderD129 Flags=intel_gpu_env",
        "Name=gpu Type=amdgpu File=/dev/dri/renderD130 Flags=amd_gpu_env",
        "Name=gpu File=/dev/dri/renderD133 Flags=opencl_env",
    ]
    assert start_worker.describe(gpus) == ("--conf", "Gres=gpu:nvidia:3,gpu:amdgpu:2,gpu:i915:1,gpu:1")


def test_a_worker_without_a_gpu_registers_without(tmp_path: Path, start_worker: ModuleType) -> None:
    assert start_worker.find_gpus(tmp_path) == []
    assert (start_worker.write_lines([]), start_worker.describe([])) == ("", ())


def await_saved(folder: Path, varlinkctl: str, **of_job: str) -> tuple[int, list[str]]:
    """Run await-saved; return its status and what it has called, a line each."""
    called = folder / "called"
    called.write_text("")
    for name in ("scontrol", "varlinkctl", "systemd-cat", "sleep"):
        answer = varlinkctl if name == "varlinkctl" else ":"
        script = f'#!/bin/sh\necho {name} "$*" >>{called}\n{answer}\n'
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", **of_job}
    argv = ["sh", str(FOLDER / "await-saved")]
    done = subprocess.run(argv, env=variables, check=False, timeout=20, capture_output=True)
    return done.returncode, called.read_text().splitlines()


def test_a_job_begins_once_slurm_was_made_to_save_and_most_voters_have_it(tmp_path: Path) -> None:
    # Nobody answers, then the answer is no, then yes.
    first, second = tmp_path / "first", tmp_path / "second"
    answers = (
        f"[ -e {first} ] || {{ touch {first}; exit 1; }}\n"
        f"""[ -e {second} ] || {{ touch {second}; echo '{{"settled" : false}}'; exit 0; }}\n"""
        """echo '{"settled" : true}'"""
    )
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    status, called = await_saved(tmp_path, answers)
    assert status == 0
    names = [line.split()[0] for line in called]
    assert names == ["scontrol", "varlinkctl", "sleep"] * 2 + ["scontrol", "varlinkctl"]
    assert called[0] == "scontrol update jobid=7 sitefactor=0"
    asked = {line.rpartition(" ")[2] for line in called if line.startswith("varlinkctl")}
    assert len(asked) == 1, "since when, and that is one time"
    since = json.loads(asked.pop())["since"] / 1000
    assert before - 0.05 <= since <= time.clock_gettime(time.CLOCK_BOOTTIME) + 0.05


def test_the_last_task_of_an_array_is_not_taken_for_all_of_them(tmp_path: Path) -> None:
    task = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}
    _, called = await_saved(tmp_path, """echo '{"settled" : true}'""", **task)
    assert called[0] == "scontrol update jobid=7_0 sitefactor=0"
    assert len(called) == 2


def test_a_job_begins_also_where_nobody_ever_answers_and_that_is_said(tmp_path: Path) -> None:
    status, called = await_saved(tmp_path, "exit 1")
    assert status == 0
    assert called[-1] == "systemd-cat --identifier=await-saved --priority=warning"
    assert sum(line.startswith("varlinkctl") for line in called) == 20


def test_a_worker_that_no_controller_knows_has_nothing_to_end(tmp_path: Path) -> None:
    # The controller does not answer at first; then it says that there is no such worker.
    answers = f"[ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; exit 1; }}"
    for name, script in {"scontrol": "exit 1", "sinfo": answers, "squeue": "exit 1", "sleep": ":"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    program = FOLDER / "drain-worker"
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert subprocess.run(["sh", program], env={"PATH": path}, check=False, timeout=20).returncode == 0
    assert (tmp_path / "asked").exists()


def forget(folder: Path, members: str, workers: str) -> tuple[int, str]:
    """Run forget-workers on n-me; return its status and what it had SLURM delete."""
    (folder / "members").write_text(members)
    deleted = folder / "deleted"
    deleted.write_text("")
    scripts = {
        "hostname": "echo n-me",
        "sinfo": f"printf '{workers}'",
        # One that has jobs is refused.
        "scontrol": f'[ "$2" != nodename=n-busy ] || exit 1; echo "$2" >>{deleted}',
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    argv = ["sh", str(FOLDER / "forget-workers"), str(folder / "members")]
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(argv, env={"PATH": path}, check=False, timeout=20, capture_output=True)
    return done.returncode, deleted.read_text()


def test_workers_that_are_no_members_and_do_not_answer_are_forgotten(tmp_path: Path) -> None:
    workers = (
        "n-me idle\\nn-off down*\\nn-gone down*\\nn-gone down*\\nn-drained drained*\\nn-busy down\\n"
        "n-other idle\\nn-of down\\n"
    )
    status, deleted = forget(tmp_path, "n-me\nn-off\n", workers)
    assert (status, deleted.split()) == (0, ["nodename=n-drained", "nodename=n-gone", "nodename=n-of"])


@pytest.mark.parametrize("members", ["", "n-off\n", "n-me2\n"])
def test_a_list_of_members_without_this_one_has_nobody_forgotten(tmp_path: Path, members: str) -> None:
    status, deleted = forget(tmp_path, members, "n-gone down*\\n")
    assert status != 0
    assert deleted == ""


def test_a_controller_that_does_not_answer_has_nobody_forgotten(tmp_path: Path) -> None:
    status, deleted = forget(tmp_path, "n-me\n", "'; exit 1; '")
    assert status != 0
    assert deleted == ""
