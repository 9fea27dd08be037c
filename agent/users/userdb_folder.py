# SPDX-License-Identifier: Apache-2.0
"""Writes the users where systemd finds them. Owns all of /run/userdb, and the list of their homes."""

import logging
from pathlib import Path

from agent import files
from agent.errors import ClusterError
from agent.users.user import User
from agent.users.userdb import Described, Entry, describe, read_local

FOLDER = Path("/run/userdb")
_log = logging.getLogger("users")


class UserdbFolder:
    """`homes` is the file with lines of tmpfiles.d(5); `etc` has the accounts of the image."""

    def __init__(self, homes: Path, folder: Path = FOLDER, etc: Path = Path("/etc")) -> None:
        self._homes = homes
        self._folder = folder
        self._etc = etc
        self._written: tuple[User, ...] | None = None

    def write(self, users: tuple[User, ...]) -> bool:
        """Make the records those of `users`; return whether any home may be missing now.

        A user's record is there only while its privileged part and its groups are. Raises ClusterError.
        """
        if users == self._written:
            return False
        local = read_local(_read(self._etc / "passwd"), _read(self._etc / "group"))
        found = describe(users, local)
        for reason in found.left_out:
            _log.warning("left out %s", reason)
        self._place(found)
        changed = _read(self._homes) != found.homes
        if changed:
            files.replace(self._homes, found.homes.encode(), mode=0o644)
        if users or self._written:
            _log.info("users of the cluster: %d", len(users))
        self._written = users
        return changed and bool(found.homes)

    def _place(self, found: Described) -> None:
        try:
            files.make_folder(self._folder, mode=0o755)
            there = {path.name for path in self._folder.iterdir()}
            # Users last to come, and first to go.
            for name in sorted(there - found.entries.keys(), key=_is_user, reverse=True):
                (self._folder / name).unlink()
            for name in sorted(found.entries, key=_is_user):
                _put(self._folder / name, found.entries[name])
        except OSError as error:
            raise ClusterError(
                f"cannot write {self._folder}: {(error.strerror or str(error)).lower()}",
                hint="see: journalctl -u clusteros-roles",
            ) from None


def _put(path: Path, entry: Entry) -> None:
    if entry.link is not None:
        if not path.is_symlink() or str(path.readlink()) != entry.link:
            temporary = path.with_name(f".{path.name}.new")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(entry.link)
            temporary.replace(path)
    elif path.is_symlink() or not path.exists() or path.read_bytes() != entry.content:
        files.replace(path, entry.content, mode=entry.mode)


def _is_user(name: str) -> bool:
    return name.endswith(".user")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
