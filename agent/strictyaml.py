# SPDX-License-Identifier: Apache-2.0
"""YAML as JSON has it: a key that comes twice is an error. Pure."""

from typing import Any

import yaml

from agent.errors import ClusterError


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep=deep)
        if len(found) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key comes twice", node.start_mark)
        return found


def parse(data: bytes, where: str, *, most: int, hint: str) -> object:
    """Return what `data`, the content of the file `where`, holds; ClusterError beyond `most` bytes.

    An error names the line and never shows what is there: it may be a secret.
    """
    if len(data) > most:
        raise ClusterError(f"{where}: it has at most {most} bytes", hint=hint)
    try:
        # `_Loader` is a SafeLoader.
        return yaml.load(data, _Loader)  # noqa: S506
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise ClusterError(f"{where}: {line}not YAML: {problem}", hint=hint) from None
