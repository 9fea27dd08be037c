# SPDX-License-Identifier: Apache-2.0
"""What an image gets from the Python package index: image/python/node.txt, and the file of what runs on it.

Standard library only: used before anything is installed.
"""

from pathlib import Path

_FOLDER = "image/python"
_ALL = "node"
_OF_NO_IMAGE = ("browser", "builder")


def list_requirements(project: Path) -> dict[str, Path]:
    """Return the files of requirements for images by name: `node`, and profiles that have one."""
    files = sorted((project / _FOLDER).glob("*.txt"))
    return {file.stem: file for file in files if file.stem not in _OF_NO_IMAGE}


def choose_requirements(project: Path, profile: str) -> dict[str, Path]:
    """Return those of one profile: its name says what runs on it, and each word of a file's is one of it."""
    wanted = {_ALL, *profile.split("-")}
    return {name: file for name, file in list_requirements(project).items() if {*name.split("-")} <= wanted}


def locate_packages(cache: Path, name: str) -> Path:
    """Return the folder that the packages of a file of requirements are installed in."""
    return cache / ("site-packages" if name == _ALL else f"site-packages-{name}")


def are_wheels(name: str) -> bool:
    """Tell whether a file of requirements names wheels; PySyncObj, in `node`, is there as source only."""
    return name != _ALL
