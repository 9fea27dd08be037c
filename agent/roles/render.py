# SPDX-License-Identifier: Apache-2.0
"""Make the files of a role from its templates, in memory.

Templates are Jinja2; a name that is not there is an error. They see: `cluster`, `me`, `members`, `holders`
and `servers` (by role), `ranges` and `interface` (of the mesh), `facts` (agent/model.py), `epoch`, and
`secret(NAME)`, the path of a secret's file.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from agent.errors import ClusterError
from agent.model import Facts
from agent.roles.order import Order
from agent.roles.role import Role


def render(
    role: Role, order: Order, facts: Facts, epoch: int, secret: Callable[[str], str]
) -> Mapping[str, bytes]:
    """Return the content of the role's files by path; ClusterError names the template that fails."""
    environment = _open_folder(role.folder)
    names: dict[str, Any] = {
        "cluster": order.cluster,
        "me": order.me,
        "members": order.members,
        "holders": {holder.role: holder for holder in order.holders},
        "servers": {group.role: group for group in order.servers},
        "interface": order.interface,
        "ranges": (order.ipv4_range, order.ipv6_range),
        "facts": facts,
        "epoch": epoch,
        "secret": secret,
    }
    found = {}
    for file in role.files:
        try:
            found[file.path] = environment.get_template(file.template).render(names).encode()
        except jinja2.TemplateError as error:
            raise ClusterError(
                f"role {role.name}: {file.template}: {error.message or type(error).__name__}",
                hint="correct the template; see docs/roles.md",
            ) from None
    return found


@lru_cache(maxsize=64)
def _open_folder(folder: Path) -> jinja2.Environment:
    """Return what reads the templates of a folder, and keeps them until their files change."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701  configuration files, of values that order.py has checked
    )
