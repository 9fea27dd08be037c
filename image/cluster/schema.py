# SPDX-License-Identifier: Apache-2.0
"""The published schema of cluster.yaml, made of the rules that the program itself checks by.

`python3 -m image.cluster.schema` prints docs/cluster.schema.json. What a schema cannot say (that a key is on
the curve, that a network has no host bits) `cluster show` checks beyond it.
"""

import json
from typing import Any

from image.cluster.plan_file import RULES


def make_schema() -> dict[str, Any]:
    """Return the schema: JSON Schema, draft 2020-12."""
    properties = {key: {**rule.schema, "description": rule.words} for key, rule in RULES.items()}
    listed = {"properties": {"policy": {"const": "allowlist"}}, "required": ["policy"]}
    conditions: list[dict[str, Any]] = [
        {
            "if": listed,
            "then": {"properties": {"allowlist": {"minItems": 1}}},
            "else": {"properties": {"allowlist": {"maxItems": 0}}},
        }
    ]
    for machines, voters in (([1, 2], [1]), ([3, 4], [1, 3])):
        few = {"properties": {"machines": {"enum": machines}}, "required": ["machines"]}
        conditions.append({"if": few, "then": {"properties": {"voters": {"enum": voters}}}})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cluster-OS: plan of a cluster (cluster.yaml)",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "allOf": conditions,
    }


def render_schema() -> str:
    """Return the text of docs/cluster.schema.json."""
    return json.dumps(make_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(render_schema(), end="")
