# SPDX-License-Identifier: Apache-2.0
"""Kinds of values in files that people write: what to tell a person, a JSON schema, how to read one. Pure.

A value that is wrong is told in the words of its rule, and never repeated where it may be a secret.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from agent.errors import ClusterError


class Rule(NamedTuple):
    """A kind of value: what to tell a person, its JSON schema, how to read it (ValueError: wrong)."""

    words: str
    schema: Mapping[str, Any]
    read: Callable[[object], Any]


def read_all(
    values: object,
    rules: Mapping[str, Rule],
    errors: list[str],
    prefix: str = "",
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the values of a map with exactly the keys of `rules`; add a line to `errors` for each fault.

    `prefix` goes before the key in each line: `ticket.`, or nothing. `defaults` are what keys that may be
    missing have then.
    """
    if not isinstance(values, Mapping):
        errors.append(f"{prefix.rstrip('.') or 'the whole'}: must hold keys; there are {', '.join(rules)}")
        return {}
    found = {}
    for key in values:
        if not isinstance(key, str) or key not in rules:
            errors.append(f"{prefix}{str(key)[:40]!r}: no such key; there are {', '.join(rules)}")
    for key, rule in rules.items():
        if key not in values:
            if defaults is not None and key in defaults:
                found[key] = defaults[key]
                continue
            errors.append(f"{prefix}{key}: missing; must be {rule.words}")
            continue
        try:
            found[key] = rule.read(values[key])
        except (ValueError, ClusterError):
            errors.append(f"{prefix}{key}: must be {rule.words}")
    return found


def refuse(where: str, errors: list[str], hint: str) -> None:
    """Raise ClusterError with all `errors` in the file `where`, a line each; return when there are none."""
    if errors:
        count = "is 1 error" if len(errors) == 1 else f"are {len(errors)} errors"
        raise ClusterError("\n  ".join((f"there {count} in {where}:", *errors)), hint=hint)


def whole(low: int, high: int) -> Rule:
    """Return the rule of a whole number in a range, both ends included."""

    def read(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Rule(f"a whole number, {low} to {high}", schema, read)


def text(pattern: str, words: str, most: int, check: Callable[[str], object] | None = None) -> Rule:
    """Return the rule of a text of at most `most` characters, all matched by `pattern`; `check` raises."""
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if not isinstance(value, str) or len(value) > most or not compiled.fullmatch(value):
            raise ValueError
        if check:
            check(value)
        return value

    return Rule(words, {"type": "string", "pattern": f"^{pattern}$", "maxLength": most}, read)


def choice(values: tuple[Any, ...], words: str, kind: Callable[[Any], Any]) -> Rule:
    """Return the rule of one of some values, read by `kind`."""

    def read(value: object) -> object:
        # `type` too: to Python true is 1.
        if not any(value == each and type(value) is type(each) for each in values):
            raise ValueError
        return kind(value)

    return Rule(words, {"enum": list(values)}, read)


def several(item: Rule, most: int, words: str) -> Rule:
    """Return the rule of a list of at most `most` different entries."""

    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError
        found = tuple(item.read(each) for each in value)
        if len(set(found)) != len(found):
            raise ValueError
        return found

    schema = {"type": "array", "items": item.schema, "maxItems": most, "uniqueItems": True}
    return Rule(words, schema, read)


def optional(rule: Rule) -> Rule:
    """Return the rule that also takes null."""
    return Rule(
        f"{rule.words}, or null",
        {"anyOf": [rule.schema, {"type": "null"}]},
        lambda value: None if value is None else rule.read(value),
    )
