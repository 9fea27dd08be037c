# SPDX-License-Identifier: Apache-2.0
"""A role as the agent knows it: frozen records, no behaviour. Read from role.yaml by role_file.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Kind(Enum):
    """On how many members a role runs."""

    LEADER = "leader"  # on one, which holds its lease
    SERVERS = "servers"  # on an odd few, which keep replicated data; the lease is where clients find one
    EVERY = "every"  # on each that qualifies


class Form(Enum):
    """What the random bytes of a secret are delivered as."""

    RAW = "raw"
    HEX = "hex"  # text without a newline, for what reads its secret as a line


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
    form: Form = Form.RAW
    renewed: bool = True  # when a member is removed; False: what uses it cannot change it


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
class Drain:
    """A command that ends when the role has no work left here, and until when that is waited for."""

    command: tuple[str, ...]
    limit: int  # seconds


@dataclass(frozen=True)
class Role:
    """What role.yaml says."""

    name: str  # of its folder
    folder: Path
    kind: Kind
    description: str
    placement: Placement
    needs: tuple[str, ...]  # roles of kind leader that must have a holder, or of kind servers that must run
    secrets: tuple[SharedSecret, ...]
    files: tuple[RenderedFile, ...]
    units: tuple[str, ...]  # in the order of their start
    health: Health | None
    status: Census | None = None
    unless: tuple[str, ...] = ()  # roles of kind servers: it does not run on a member that has one of them
    count: int = 3  # of kind servers: how many at most, odd
    replace_after: int = 3600  # of kind servers: seconds that one may be away before another takes its place
    drain: Drain | None = None  # not of kind leader: a lease that ends waits for nobody
    on_removed: tuple[str, ...] = ()  # of kind servers: command for each member that went; see letting_go.py


Roles = Mapping[str, Role]
