# SPDX-License-Identifier: Apache-2.0
"""Read role.yaml, and tell all that is wrong with it at once.

A role is a folder in /usr/lib/cluster-os/roles with role.yaml and the templates that it names. The image's
roles are trusted as the image is; the checks are for who writes one.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent import rule
from agent.errors import ClusterError
from agent.roles.role import (
    Census,
    Drain,
    Form,
    Health,
    Kind,
    OnChange,
    Placement,
    RenderedFile,
    Role,
    Roles,
    SharedSecret,
)

FOLDER = Path("/usr/lib/cluster-os/roles")
VARIABLE = "CLUSTEROS_ROLES"
FILE = "role.yaml"
NAME = r"[a-z][a-z0-9-]{0,22}[a-z0-9]"
SECRET = rf"{NAME}/[a-z][a-z0-9-]{{0,22}}"
MAX_ROLES = 64
MAX_BYTES = 64 << 10
MOST_HEX = 2000
"""Bytes of a secret in the form hex: its text is twice as long, and is a secret of at most 4096 bytes."""
HINT = "see docs/roles.md; check it with: node-agent role check DIR"
_log = logging.getLogger("roles")
_UNIT = r"[A-Za-z0-9:_.@-]{1,200}\.(service|socket|target|timer|path|mount)"
_PATH = r"/(etc|run)(/[A-Za-z0-9][A-Za-z0-9._-]*)+"
_USER = r"[a-z_][a-z0-9_-]{0,30}"

_names = rule.several(rule.text(NAME, "the name of a role", 24), 16, "a list of names of roles")
_words = rule.several(
    rule.text(r"[a-z0-9][a-z0-9_.-]{0,62}", "a word", 63), 16, "a list of words a-z, 0-9, _ . and -"
)
_boolean = rule.choice((False, True), "true or false", bool)


def _arguments() -> rule.Rule:
    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= 64:
            raise ValueError
        if not all(isinstance(word, str) and word.isprintable() for word in value):
            raise ValueError
        if not value[0].startswith("/"):
            raise ValueError
        return tuple(value)

    return rule.Rule("a list of a program's absolute path and its arguments", {}, read)


def _any(words: str) -> rule.Rule:
    return rule.Rule(words, {}, lambda value: value)


def _read_mode(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError
    return int(value, 8)


_RULES = {
    "version": rule.choice((1,), "1", int),
    "kind": rule.choice(tuple(kind.value for kind in Kind), "leader, servers or every", Kind),
    "description": rule.text(r"[^\n]+", "one line of 1 to 100 characters", 100),
    "placement": _any("a map"),
    "needs": _names,
    "secrets": _any("a list of maps"),
    "files": _any("a list of maps"),
    "units": rule.several(
        rule.text(_UNIT, "a unit", 210), 16, "a list of at most 16 different names of systemd units"
    ),
    "health": _any("a map, or null"),
    "status": _any("a map, or null"),
    "drain": _any("a map, or null"),
    "unless": _names,
    "count": rule.choice((1, 3, 5, 7), "1, 3, 5 or 7", int),
    "replace_after": rule.whole(10, 30 * 86_400)._replace(words="seconds, 10 to 2592000"),
    "on_removed": _arguments(),
}
_DEFAULTS: dict[str, Any] = {
    "placement": {},
    "needs": (),
    "secrets": [],
    "files": [],
    "health": None,
    "status": None,
    "drain": None,
    "unless": (),
    "count": 3,
    "replace_after": 3600,
    "on_removed": (),
}
_PLACEMENT = {
    "cores": rule.whole(1, 4096),
    "memory": rule.whole(0, 1 << 26)._replace(words="MiB of memory, a whole number"),
    "gpu": _boolean,
    "architectures": _words,
    "labels": _words,
}
_FILE = {
    "path": rule.text(_PATH, "an absolute path below /etc or /run", 200),
    "template": rule.text(r"[A-Za-z0-9][A-Za-z0-9._-]*\.j2", "the name of a file NAME.j2 of the role", 100),
    "owner": rule.text(_USER, "a user of the image", 31),
    "mode": rule.Rule("octal digits in quotes, as '0644'", {}, _read_mode),
    "on_change": rule.choice(
        tuple(change.value for change in OnChange), "restart, reload or nothing", OnChange
    ),
}
_FILE_DEFAULTS = {"owner": "root", "mode": 0o644, "on_change": OnChange.RESTART}
_SECRET = {
    "name": rule.text(SECRET, "ROLE/NAME", 50),
    "bytes": rule.whole(16, 4096),
    "form": rule.choice(tuple(form.value for form in Form), "raw or hex", Form),
    "renewed": _boolean,
}
_SECRET_DEFAULTS = {"form": Form.RAW, "renewed": True}
_OF_SERVERS = ("count", "replace_after", "on_removed")
_HEALTH = {"command": _arguments(), "every": rule.whole(1, 3600), "failures": rule.whole(1, 100)}

_STATUS = {"command": _arguments(), "every": rule.whole(5, 3600)}
_DRAIN = {"command": _arguments(), "limit": rule.whole(1, 86_400)._replace(words="seconds, 1 to 86400")}


def find_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of roles that the environment names, or else the image's."""
    return Path(environment.get(VARIABLE) or FOLDER)


def read_roles(folder: Path = FOLDER) -> Roles:
    """Return the roles in `folder` by name, none where it is missing.

    One that is wrong is left out, and the log says what is wrong: the other roles do not suffer from it.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return {}
    found = {}
    for name in names[:MAX_ROLES]:
        try:
            found[name] = read_role(folder / name)
        except ClusterError as error:
            _log.error("left out the role %s: %s", name, error.message)
    return found


def read_role(folder: Path) -> Role:
    """Return the role in `folder`; ClusterError with all that is wrong with it, a line each."""
    import yaml  # noqa: PLC0415  `node-agent status` does without

    path = folder / FILE
    try:
        content = yaml.safe_load(path.read_bytes()[: MAX_BYTES + 1])
    except OSError as error:
        raise ClusterError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint=HINT
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise ClusterError(
            f"{path}{f': line {mark.line + 1}' if mark else ''}: not YAML", hint=HINT
        ) from None
    errors: list[str] = []
    found = rule.read_all(content, _RULES, errors, defaults=_DEFAULTS)
    if not re.fullmatch(NAME, folder.name):
        errors.append(f"the folder: {folder.name!r} must have 2 to 24 characters a-z, 0-9 and -")
    placement = rule.read_all(
        found.get("placement"), _PLACEMENT, errors, "placement.", defaults=vars(Placement())
    )
    files = _read_list(found.get("files"), _FILE, errors, "files", _FILE_DEFAULTS)
    secrets = _read_list(found.get("secrets"), _SECRET, errors, "secrets", _SECRET_DEFAULTS)
    health = _read_map(found.get("health"), _HEALTH, errors, "health.", {"every": 10, "failures": 3})
    status = _read_map(found.get("status"), _STATUS, errors, "status.", {"every": 15})
    drain = _read_map(found.get("drain"), _DRAIN, errors, "drain.", {"limit": 600})
    for number, file in enumerate(files):
        if "template" in file and not (folder / file["template"]).is_file():
            errors.append(f"files[{number}].template: there is no {file['template']} beside {FILE}")
    for number, each in enumerate(secrets):
        if each.get("form") is Form.HEX and each.get("bytes", 0) > MOST_HEX:
            errors.append(f"secrets[{number}].bytes: must be at most {MOST_HEX} in the form hex")
    if isinstance(content, dict) and found.get("kind") is not Kind.SERVERS:
        errors += [f"{key}: only a role of kind servers has it" for key in _OF_SERVERS if key in content]
    if found.get("unless") and found.get("kind") is not Kind.EVERY:
        errors.append("unless: only a role of kind every has it")
    if found.get("drain") and found.get("kind") is Kind.LEADER:
        errors.append("drain: a role of kind leader has none, as a lease that ends waits for nobody")
    if found.get("on_removed") and not any("{" in word for word in found["on_removed"]):
        errors.append("on_removed: must say who went, by {hostname} or {node_id}")
    rule.refuse(str(path), errors, HINT)
    return Role(
        name=folder.name,
        folder=folder,
        kind=found["kind"],
        description=found["description"],
        placement=Placement(**placement),
        needs=found["needs"],
        secrets=tuple(SharedSecret(**each) for each in secrets),
        files=tuple(RenderedFile(**each) for each in files),
        units=found["units"],
        health=Health(**health) if health else None,
        status=Census(**status) if status else None,
        drain=Drain(**drain) if drain else None,
        **{key: found[key] for key in ("unless", *_OF_SERVERS)},
    )


def _read_list(
    value: object,
    rules: dict[str, rule.Rule],
    errors: list[str],
    key: str,
    defaults: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > 32:
        errors.append(f"{key}: must be a list of at most 32 maps")
        return []
    return [
        rule.read_all(each, rules, errors, f"{key}[{number}].", defaults) for number, each in enumerate(value)
    ]


def _read_map(
    value: object, rules: dict[str, rule.Rule], errors: list[str], prefix: str, defaults: dict[str, Any]
) -> dict[str, Any] | None:
    return None if value is None else rule.read_all(value, rules, errors, prefix, defaults)
