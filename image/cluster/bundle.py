# SPDX-License-Identifier: Apache-2.0
"""The bundle of a cluster: clusters/NAME with cluster.yaml, secret.json and users.yaml. Owns these files.

A bundle appears complete or not at all, is for its owner alone (0700), and is never overwritten.
"""

import os
import secrets as randomness
import shutil
import tempfile
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import files
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.membership.rules import PLAN
from agent.users import user_file
from agent.users.user import User, size
from image.cluster.plan_file import Plan, decode_plan, encode_plan
from image.cluster.secret_file import Secrets, decode_secrets, encode_secrets

PLAN_FILE = "cluster.yaml"
SECRET_FILE = "secret.json"  # noqa: S105  a name
MAX_USERS = 128 << 10
"""Bytes of users in a credential; more of them come later, by `node-agent users set`."""
_HINT_PATH = "check the path, its permissions, and whether the disk is full"


@dataclass(frozen=True)
class Bundle:
    """A checked bundle."""

    folder: Path
    plan: Plan
    secrets: Secrets
    users: tuple[User, ...] = field(default=(), repr=False)


def create(clusters: Path, values: Mapping[str, Any]) -> Bundle:
    """Make the bundle of a new cluster in the folder `clusters`; `values` are of plan_file.check_options.

    Raises ClusterError where there is one of that name, or where it cannot be written.
    """
    folder = clusters / values["name"]
    if folder.exists() or folder.is_symlink():
        raise _refuse(folder)
    seed = randomness.token_bytes(32)
    cluster_id = b32encode(randomness.token_bytes(16)).decode().rstrip("=").lower()
    plan = Plan(cluster_id=cluster_id, operator_key=identity_of_seed(seed).public_key, **values)
    secrets = Secrets(cluster_id, operator_seed=seed, gossip_key=randomness.token_bytes(32))
    try:
        clusters.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=clusters))
    except OSError as error:
        raise _cannot("write", clusters, error) from None
    try:
        write(new / PLAN_FILE, encode_plan(plan).encode(), mode=0o644)
        write(new / SECRET_FILE, encode_secrets(secrets), mode=0o600)
        write(new / user_file.NAME, user_file.TEMPLATE.encode(), mode=0o600)
        new.rename(folder)
    except OSError as error:
        if folder.exists():
            raise _refuse(folder) from None
        raise _cannot("make", folder, error) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return load(clusters, folder.name)


def load(clusters: Path, name: str) -> Bundle:
    """Return the bundle `name`; ClusterError when there is none, or with all that is wrong with it."""
    try:
        PLAN["name"].read(name)
    except ValueError:
        raise ClusterError(
            f"{name!r} is no name of a cluster", hint=f"a name has {PLAN['name'].words}"
        ) from None
    folder = clusters / name
    if not folder.is_dir():
        there = ", ".join(names(clusters))
        hint = f"there are: {there}" if there else "make one: ./build.py cluster new NAME"
        raise ClusterError(f"there is no cluster {name!r} in {clusters}", hint=hint)
    plan = decode_plan(_read(folder / PLAN_FILE), str(folder / PLAN_FILE))
    secrets = decode_secrets(
        _read(folder / SECRET_FILE, remedy="plan a new cluster"), str(folder / SECRET_FILE)
    )
    operator_key = identity_of_seed(secrets.operator_seed).public_key
    if (plan.cluster_id, plan.operator_key) != (secrets.cluster_id, operator_key):
        raise ClusterError(
            f"{folder / PLAN_FILE} and {SECRET_FILE} are not of one cluster",
            hint="cluster_id and operator_key never change: restore them from your backup",
        )
    if plan.name != name:
        raise ClusterError(
            f"{folder / PLAN_FILE}: name: must be {name}, as the folder is",
            hint="the name of a cluster does not change: a new one is made by ./build.py cluster new NAME",
        )
    return Bundle(folder, plan, secrets, _read_users(folder / user_file.NAME))


def names(clusters: Path) -> list[str]:
    """Return the names of the clusters that were planned, sorted."""
    return sorted(path.parent.name for path in clusters.glob(f"[a-z]*/{PLAN_FILE}"))


def write(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file of a bundle, or what was issued from it."""
    try:
        files.replace(path, data, mode=mode)
    except ClusterError as error:
        raise ClusterError(error.message, hint=_HINT_PATH) from None


def _read_users(path: Path) -> tuple[User, ...]:
    """Return the users of the file; a bundle without it has none."""
    if not path.exists():
        return ()
    users = user_file.decode_users(_read(path, remedy="give its users new passwords"), str(path))
    if (total := sum(map(size, users))) > MAX_USERS:
        raise ClusterError(
            f"{path}: the users have {total} bytes; at most {MAX_USERS} go into a credential",
            hint="let the cluster begin with fewer, and set all of them then: node-agent users set FILE",
        )
    return users


def _read(path: Path, *, remedy: str = "") -> bytes:
    """Return the content; `remedy` is what to do when others could read it, empty: they may."""
    try:
        with path.open("rb") as content:
            mode = os.fstat(content.fileno()).st_mode
            data = content.read()
    except FileNotFoundError:
        raise ClusterError(f"{path} is missing", hint="restore it from your backup") from None
    except OSError as error:
        raise _cannot("read", path, error) from None
    if remedy and mode & 0o077:
        raise ClusterError(
            f"{path} can be read by other users",
            hint=f"chmod 600 {path}; if anybody read it, {remedy}",
        )
    return data


def _refuse(folder: Path) -> ClusterError:
    return ClusterError(
        f"there is a cluster {folder.name!r} already: {folder} is never overwritten",
        hint="give another name, or move that folder away if no machine has its credential",
    )


def _cannot(verb: str, path: Path, error: OSError) -> ClusterError:
    return ClusterError(f"cannot {verb} {path}: {(error.strerror or str(error)).lower()}", hint=_HINT_PATH)
