# SPDX-License-Identifier: Apache-2.0
"""Get what building needs, in our versions, into the cache: Python packages, mkosi, the tools tree.

Standard library only: this is what runs before anything is installed. Each part is made once, sealed, and
made again when its inputs change or when it was damaged. Nothing of the host changes outside the cache.
"""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ClusterError
from image.cache import check_seal, digest_files, make_tree
from image.mirror import RELEASE, Mirror, write_sources
from image.packagecache import check_archives, seal_archives
from image.privateapt import fetch_packages, unpack_packages
from image.process import run_logged
from image.requirements import are_wheels, choose_requirements, locate_packages
from image.toolstree import ToolsTree

Say = Callable[[str], None]

MKOSI_VERSION = "25.3"
_MKOSI_PACKAGE = "mkosi=25.3-7"
_DIST_PACKAGES = "usr/lib/python3/dist-packages"


@dataclass(frozen=True)
class Environment:
    """The means of building: cache folder, mkosi's command, the tools tree; and where PyPI packages are."""

    project: Path
    cache: Path
    mirror: Mirror
    mkosi: tuple[str, ...]
    tools: ToolsTree

    @property
    def site_packages(self) -> Path:
        """PyPI packages that every image has."""
        return locate_packages(self.cache, "node")

    def site_packages_of(self, profile: str) -> list[Path]:
        """Folders of the PyPI packages that the images of a profile have."""
        return [locate_packages(self.cache, name) for name in choose_requirements(self.project, profile)]

    @property
    def mkosi_variables(self) -> dict[str, str]:
        """Environment of a mkosi process."""
        return {"PYTHONPATH": str(self.cache / "mkosi" / _DIST_PACKAGES)}

    @property
    def sources(self) -> Path:
        """Sandbox tree that holds apt's sources for mkosi."""
        return self.cache / "sources"


def prepare_python(project: Path, cache: Path, mirror: Mirror, say: Say) -> None:
    """Make our Python packages importable here and in children, installing them on the first call."""
    tree = cache / f"python-{sys.version_info.major}.{sys.version_info.minor}"
    requirements = project / "image/python/builder.txt"
    inputs = digest_files([requirements], base=project)
    if why := check_seal(tree, inputs):
        say(f"installing Python packages for the builder into {tree} ({why})")
        pip = prepare_pip(cache, mirror)
        make_tree(tree, inputs, lambda new: install(pip, requirements, new, cache, "--only-binary", ":all:"))
    sys.path.insert(1, str(tree))
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (project, tree)))
    importlib.invalidate_caches()


def prepare_pip(cache: Path, mirror: Mirror) -> Path:
    """Return a folder with pip in it: Debian splits pip from Python, so ours comes as a package."""
    tree = cache / "pip"
    if check_seal(tree, RELEASE):
        log = cache / "logs/bootstrap.log"

        def make(new: Path) -> None:
            files = fetch_packages(["python3-pip"], mirror, new, log=log)
            unpack_packages(files, new, log=log)

        if mirror.archive and shutil.which("apt-get"):
            make_tree(tree, RELEASE, make)
        else:
            _require_host_pip()
            return Path()
    return tree / _DIST_PACKAGES


def _require_host_pip() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if found.returncode != 0:
        raise ClusterError(
            "pip is missing, and this machine has no apt to get it from", hint="install python3-pip"
        )


def install(pip: Path, requirements: Path, target: Path, cache: Path, *options: str) -> None:
    """Install exactly what `requirements` lists, by hash, into `target`."""
    run_logged(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-input", "--no-compile"),
            *("--disable-pip-version-check", "--root-user-action=ignore", "--require-hashes", *options),
            *("--cache-dir", cache / "pip-cache", "--requirement", requirements, "--target", target),
        ],
        log=cache / "logs/bootstrap.log",
        what=f"installing {requirements.name} from the Python package index",
        env={"PYTHONPATH": os.pathsep.join([str(pip), os.environ.get("PYTHONPATH", "")])},
    )


def prepare_environment(project: Path, cache: Path, mirror: Mirror, say: Say) -> Environment:
    """Get mkosi, the PyPI packages that every image has, and the tools tree; needs `prepare_python` first."""
    write_sources(mirror, cache / "sources/etc/apt/sources.list.d/mkosi.sources")
    mkosi, sandbox = _prepare_mkosi(cache, mirror, say)
    environment = Environment(
        project=project,
        cache=cache,
        mirror=mirror,
        mkosi=mkosi,
        tools=ToolsTree(cache / "tools", sandbox),
    )
    prepare_packages(environment, "node", say)
    _prepare_tools(environment, say)
    os.environ["CLUSTEROS_TOOLS"] = str(environment.tools.root)
    os.environ["CLUSTEROS_SANDBOX"] = str(sandbox)
    os.environ["CLUSTEROS_SITE_PACKAGES"] = str(environment.site_packages)
    os.environ["PYTHONPATH"] += os.pathsep + str(environment.site_packages)
    return environment


def _prepare_mkosi(cache: Path, mirror: Mirror, say: Say) -> tuple[tuple[str, ...], Path]:
    """Return mkosi's command and the path of its sandbox program."""
    tree = cache / "mkosi"
    if not mirror.archive or not shutil.which("dpkg-deb"):
        return _find_host_mkosi()
    if why := check_seal(tree, _MKOSI_PACKAGE):
        say(f"installing mkosi {MKOSI_VERSION} from Debian into {tree} ({why})")
        log = cache / "logs/bootstrap.log"

        def make(new: Path) -> None:
            unpack_packages(fetch_packages([_MKOSI_PACKAGE], mirror, new, log=log), new, log=log)
            shutil.rmtree(new / "apt", ignore_errors=True)

        make_tree(tree, _MKOSI_PACKAGE, make)
    return (sys.executable, "-m", "mkosi"), tree / _DIST_PACKAGES / "mkosi/sandbox.py"


def _find_host_mkosi() -> tuple[tuple[str, ...], Path]:
    """Use a mkosi on PATH, on distributions where we cannot fetch ours."""
    program = shutil.which("mkosi")
    hint = (
        f"install mkosi {MKOSI_VERSION} or later, apt, dpkg and debian-archive-keyring, or give --mirror URL"
    )
    if not program:
        raise ClusterError("mkosi is missing, and this machine's apt has no Debian to get it from", hint=hint)
    printed = subprocess.run(
        [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    ).stdout.split()
    version = printed[-1] if printed else "unknown"
    if not is_new_enough(version):
        raise ClusterError(f"{program} is version {version}, which is too old", hint=hint)
    # The interpreter of the program is the one that finds its modules.
    head = Path(program).read_bytes().splitlines()[0].removeprefix(b"#!").decode(errors="replace").split()
    where = subprocess.run(
        [*(head or [sys.executable]), "-c", "import mkosi.sandbox as s; print(s.__file__)"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if not where:
        raise ClusterError(f"{program} has no mkosi/sandbox.py beside it", hint=hint)
    return (program,), Path(where)


def is_new_enough(version: str) -> bool:
    """Say whether a version such as `25.3` or `26~devel` is at least MKOSI_VERSION."""
    numbers = [int(part) for part in version.partition("~")[0].split(".") if part.isdigit()]
    return numbers >= [int(part) for part in MKOSI_VERSION.split(".")]


def prepare_packages(environment: Environment, profile: str, say: Say) -> None:
    """Install the PyPI packages that the images of a profile have; `node` is in all of them."""
    for name, requirements in choose_requirements(environment.project, profile).items():
        options = ("--only-binary", ":all:") if are_wheels(name) else ("--no-build-isolation",)
        _prepare_packages(environment, requirements, locate_packages(environment.cache, name), options, say)


def _prepare_packages(
    environment: Environment, requirements: Path, tree: Path, options: Sequence[str], say: Say
) -> None:
    inputs = digest_files([requirements], base=environment.project)
    if why := check_seal(tree, inputs):
        say(f"installing the image's PyPI packages into {tree} ({why})")
        pip = prepare_pip(environment.cache, environment.mirror)

        def make(new: Path) -> None:
            install(pip, requirements, new, environment.cache, *options)
            # Scripts and the list of files name this machine's Python; the image has no use for them.
            shutil.rmtree(new / "bin", ignore_errors=True)
            for file in (*new.glob("*.dist-info/RECORD"), *new.glob("*.dist-info/REQUESTED")):
                file.unlink()

        make_tree(tree, inputs, make)


def _prepare_tools(environment: Environment, say: Say) -> None:
    """Build the tools tree, about 450 MiB, with mkosi from image/tools."""
    prepare_tree(environment, "tools", "the tools tree (QEMU 10, systemd 257, OVMF, ...)", say)


def prepare_tree(environment: Environment, name: str, what: str, say: Say) -> Path:
    """Build the tree `name` with mkosi from the folder of that name in image/, and return where it is."""
    source = environment.project / "image" / name
    inputs = digest_files([source], base=environment.project)
    tree = environment.cache / name
    if why := check_seal(tree, inputs):
        say(f"building {what} in {tree}, about a minute ({why})")

        def make(new: Path) -> None:
            check_archives(environment.cache, say)
            command: list[str | Path] = [*environment.mkosi, "--directory", source, "--force"]
            command += ["--output-directory", new]
            command += ["--package-cache-directory", make_folder(environment.cache / "packages")]
            command += ["--workspace-directory", make_folder(environment.cache / "workspace")]
            if environment.mirror.archive:
                command += ["--sandbox-tree", environment.sources]
            run_logged(
                [*command, "build"],
                log=environment.cache / f"logs/{name}.log",
                what=f"building the {name} tree",
                env=environment.mkosi_variables,
            )
            seal_archives(environment.cache)
            # mkosi puts the tree below its output folder; the tree itself is what we keep.
            inner = new / name
            for entry in inner.iterdir():
                entry.rename(new / entry.name)
            inner.rmdir()

        make_tree(tree, inputs, make)
    return tree


def make_folder(path: Path) -> Path:
    """Make a folder and return it."""
    path.mkdir(parents=True, exist_ok=True)
    return path
