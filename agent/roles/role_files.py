# SPDX-License-Identifier: Apache-2.0
"""The files of roles, and the secrets that their units load. Owns those files, and the folder of secrets."""

import base64
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from agent import files
from agent.errors import ClusterError
from agent.model import Facts
from agent.roles.order import DeliveredSecret, Order
from agent.roles.render import render
from agent.roles.role import Role, Roles


class RoleFiles:
    """What was written for each role; `in` tells whether anything was. Secrets are in `folder`, 0600."""

    def __init__(self, folder: Path, facts: Facts) -> None:
        self._folder = folder
        self._facts = facts
        self._written: dict[str, Mapping[str, bytes]] = {}  # role -> path -> content

    def __contains__(self, role: object) -> bool:
        return role in self._written

    def write(self, role: Role, order: Order, epoch: int) -> set[str]:
        """Write the files and the secrets of a role; return the paths of those that changed."""
        given = {secret.name: secret for secret in order.secrets}
        wanted: dict[str, tuple[bytes, int, str]] = {}
        for each in role.secrets:
            if each.name in given:
                wanted[str(self._secret_path(each.name))] = (_open(given[each.name]), 0o600, "root")
        rendered = render(role, order, self._facts, epoch, lambda name: str(self._secret_path(name)))
        for file in role.files:
            wanted[file.path] = (rendered[file.path], file.mode, file.owner)
        before = self._written.get(role.name, {})
        changed = {path for path, (content, _, _) in wanted.items() if before.get(path) != content}
        for path in sorted(changed):
            content, mode, owner = wanted[path]
            _place(Path(path), content, mode, owner)
        self._written[role.name] = {path: content for path, (content, _, _) in wanted.items()}
        return changed

    def forget(self, role: Role, roles: Roles) -> None:
        """Forget a role, and take away the secrets that none of the other `roles` here uses."""
        if self._written.pop(role.name, None) is None:
            return
        used = {each.name for name in self._written for each in roles[name].secrets}
        for each in role.secrets:
            if each.name not in used:
                self._secret_path(each.name).unlink(missing_ok=True)

    def _secret_path(self, name: str) -> Path:
        return self._folder / name.replace("/", ".")


def _open(secret: DeliveredSecret) -> bytes:
    try:
        return base64.b64decode(secret.value, validate=True)
    except ValueError:
        raise ClusterError(f"the secret {secret.name} is not in base64") from None


def _place(path: Path, content: bytes, mode: int, owner: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, content, mode=mode)
        entry = pwd.getpwnam(owner)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    except KeyError:
        raise ClusterError(f"{path}: there is no user {owner} in the image") from None
    except OSError as error:
        raise ClusterError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None
