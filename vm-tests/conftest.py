# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the VM tests: the built image, machines for a test file, and the judge of their consoles.

A test passes only when its machines' consoles are clean and its machines are alive in the boot that was
tested. `@pytest.mark.console("panic", ...)` lists what a test provokes on purpose.
"""

import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.disks import find_image
from harness.group import Group
from harness.lab import Lab
from image.toolstree import ToolsTree

PROJECT = Path(__file__).parents[1]
IMAGES = PROJECT / "out/vm"
MACHINES = PROJECT / "out/machines"
"""Where `./build.py vm` keeps its machines too: `--cluster test-FILE` names those of a test."""
KEEP = "CLUSTEROS_KEEP_VMS"
"""Environment variable: when set, the machines of a test file with a failed test stay on."""
_LABS = pytest.StashKey[list[Lab]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "console(*kinds): what the test provokes on the consoles")
    config.stash[_LABS] = []


@pytest.fixture(scope="session")
def tools() -> ToolsTree:
    """The tools tree; `./build.py test` prepares it and names it in the environment."""
    try:
        return ToolsTree(Path(os.environ["CLUSTEROS_TOOLS"]), Path(os.environ["CLUSTEROS_SANDBOX"]))
    except KeyError:
        pytest.fail("no tools tree: run the tests by ./build.py test")


@pytest.fixture(scope="session")
def image() -> Path:
    """The raw disk image under test."""
    return find_image(IMAGES)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tools: ToolsTree, image: Path) -> Iterator[Lab]:
    """Machines for this test file."""
    with open_lab(request.config, request.path.stem.replace("_", "-"), tools, image) as found:
        yield found


@contextmanager
def open_lab(config: pytest.Config, name: str, tools: ToolsTree, image: Path) -> Iterator[Lab]:
    """Give machines to tests; the leftovers of an earlier, killed run are removed first."""
    group = Group(tools, MACHINES, name, say=print)
    with group.locked():
        group.down(purge=True)
        lab = Lab(group, image, PROJECT / "out/vm-tests")
        config.stash[_LABS].append(lab)
        try:
            yield lab
        finally:
            config.stash[_LABS].remove(lab)
            lab.close(keep_failed=bool(os.environ.get(KEEP)))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Judge the machines right after the test, as a part of it."""
    labs = pyfuncitem.config.stash[_LABS]
    try:
        result = yield
    except BaseException:
        # What this test left on the consoles is not the next one's fault.
        for lab in labs:
            lab.forget()
        raise
    mark = pyfuncitem.get_closest_marker("console")
    for lab in labs:
        lab.judge(expected=mark.args if mark else ())
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the logs of a failed test, and say where they are and how to look further."""
    report = yield
    if report.failed:
        name = re.sub(r"\W+", "-", item.name)
        for lab in item.config.stash[_LABS]:
            lines = [*lab.keep(name), f"again, with machines kept: {_again(item)}"]
            lines.append(f"then: ./build.py vm exec --cluster {lab.group.name} node1 -- journalctl -b")
            report.sections.append(("to look further", "\n".join(lines)))
    return report


def _again(item: pytest.Item) -> str:
    return f"{KEEP}=1 ./build.py test -- -k {item.name}"
