# SPDX-License-Identifier: Apache-2.0
"""A role as the agent knows it: frozen records, no behaviour. Read from role.yaml by role_file.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Kind(Enum):
    """On how many members a role runs."""

    LEADER = "leader"  # on one, which holds its lease
    EVERY = "every"  # on each that qualifies


class OnChange(Enum):
    """What units need when a file of theirs changed while they run."""

    RESTART = "restart"
    RELOAD = "reload"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Placement:
    """What a machine must have to qualify."""

    cores: int = 1
    memory: int = 0  # MiB
    gpu: bool = False
    architectures: tuple[str, ...] = ()  # as `uname -m`; empty: any
    labels: tuple[str, ...] = ()  # of node.yaml, roles.labels; all of them


@dataclass(frozen=True)
class RenderedFile:
    """A file that is made from a template of the role's folder."""

    path: str
    template: str
    owner: str  # a user of the image
    mode: int
    on_change: OnChange


@dataclass(frozen=True)
class SharedSecret:
    """Random bytes that the holders of the role share with whoever lists them: `ROLE/NAME`."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Health:
    """A command that ends with 0 while all is well."""

    command: tuple[str, ...]
    every: int  # seconds
    failures: int  # in a row, before the units are started again


@dataclass(frozen=True)
class Census:
    """A command that prints what the role counts of itself (agent/roles/figures.py)."""

    command: tuple[str, ...]
    every: int  # seconds


@dataclass(frozen=True)
class Role:
    """What role.yaml says."""

    name: str  # of its folder
    folder: Path
    kind: Kind
    description: str
    placement: Placement
    needs: tuple[str, ...]  # roles of kind leader that must have a holder
    secrets: tuple[SharedSecret, ...]
    files: tuple[RenderedFile, ...]
    units: tuple[str, ...]  # in the order of their start
    health: Health | None
    status: Census | None = None


Roles = Mapping[str, Role]
